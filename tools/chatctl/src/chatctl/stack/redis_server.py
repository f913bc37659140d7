"""The private Redis of a stack: how to start it and how to tell that it answers. It keeps nothing over a restart.

Each service has its own user, with the rights that it has in production. People and tests come as the default user,
who may do everything: the port is the loopback's.
"""

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from chatcore.acl import User, acl_file
from chatcore.keys import Keys

from chatctl.stack.executables import find
from chatctl.stack.program import Program

MAX_MEMORY = "1gb"
"""Past it Redis refuses writes (`noeviction`: streams must never lose an entry to make room)."""

USERS: Final[Mapping[str, User]] = {"gateway": "gateway", "worker": "delivery-worker", "presence": "presence"}
"""The user of each role."""

EVERYTHING: Final = "on nopass ~* &* +@all"

ANSWER_S = 2.0
"""Seconds after which an unanswered PING counts as none."""


def redis_program(*, folder: Path, port: int, password: str, prefix: str = "chat") -> Program:
    """Return a Redis without persistence: whoever kills it tests that everything in it may vanish.

    `password` is that of the services' users, `prefix` that of the keys on which they have their rights. Its options
    stand in a file, so that CONFIG REWRITE makes those of its next start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = sha256(password.encode()).hexdigest()
    users = folder / "users.acl"
    users.write_text(
        acl_file(Keys(prefix), dict.fromkeys(USERS.values(), digest), default=EVERYTHING), encoding="ascii"
    )
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "aclfile": str(users),
        "save": "",
        "appendonly": "no",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "noeviction",
        "set-proc-title": "no",  # its title would overwrite the environment, and with it the stack's mark
    }
    file = folder / "redis.conf"
    file.write_text("".join(f'{name} "{_quoted(value)}"\n' for name, value in options.items()), encoding="utf-8")
    return Program(
        name="redis",
        role="redis",
        command=(find("redis-server", package="redis-server"), str(file)),
        environment={},
        url=url_of(port),
        stop_s=5.0,
    )


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def url_of(port: int) -> str:
    """Return how clients name it."""
    return f"redis://127.0.0.1:{port}/0"


async def answers(port: int) -> bool:
    """Tell whether it serves commands now."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except OSError:  # a TimeoutError is one too
        return False
