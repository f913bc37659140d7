"""Owns a private ejabberd: its folder, its options, its database on the stack's own server. Loopback only.

It runs as one process without Erlang's distribution, so no daemon of Erlang is left behind, and it ends with its block.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import pymysql
from pymysql.constants import CLIENT

from chatctl.failure import Failure
from chatctl.stack import ports
from chatctl.stack.executables import find
from chatctl.stack.program import dying_with_its_parent
from chatctl.stack.stack_file import MysqlAddress

SCHEMA: Final = Path("/usr/share/ejabberd/sql/mysql.sql")
LIBRARIES: Final = "/usr/lib"
"""Debian has ejabberd and the Erlang libraries that it needs in the folder of the architecture below it."""
PASSWORD: Final = "bench"  # noqa: S105 - of users that live for a minute, on the loopback
DOMAIN: Final = "localhost"
BACKLOG: Final = 1_024
"""Its own five lose connections of a generator that connects many at once."""
START_S: Final = 60.0
STOP_S: Final = 15.0
LOOK_S: Final = 0.1
MODULES: Final[dict[str, Any]] = {
    "mod_carboncopy": {},
    "mod_disco": {},
    "mod_ping": {},
    "mod_stream_mgmt": {"resend_on_timeout": "if_offline"},
}
ARCHIVE: Final[dict[str, Any]] = {
    "mod_mam": {
        "db_type": "sql",
        "default": "always",
        "assume_mam_usage": True,
        "compress_xml": False,
        "cache_size": 100_000,
    },
    "mod_offline": {"use_mam_for_storage": True},
}
"""Every message goes into the archive, and what nobody was there for is found in it."""


@dataclass(frozen=True, slots=True)
class Ejabberd:
    """A running server."""

    pid: int
    port: int


@asynccontextmanager
async def running(
    folder: Path, mysql: MysqlAddress, users: Iterable[str], *, archiving: bool
) -> AsyncIterator[Ejabberd]:
    """Run a server with these users and an empty database. Raises `Failure`."""
    [port] = ports.private(1)
    database = "ejabberd_archiving" if archiving else "ejabberd_plain"
    await asyncio.to_thread(_make_database, mysql, database, users)
    options = _write_options(folder, _options(port, mysql, database, archiving=archiving))
    log = folder / "ejabberd.log"
    process = await asyncio.create_subprocess_exec(
        *(*dying_with_its_parent(), find("erl", package="ejabberd"), "-noinput", "+K", "true"),
        *("-mnesia", "dir", f'"{folder / "spool"}"', "-s", "ejabberd"),
        env=_environment(folder, options, log),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _listening(process, port, log)
        yield Ejabberd(process.pid, port)
    finally:
        await _stop(process)


def _write_options(folder: Path, options: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ejabberd.yml"
    path.touch(mode=0o600)  # it holds the database's password
    path.write_bytes(orjson.dumps(options))  # JSON is YAML
    return path


def _environment(folder: Path, options: Path, log: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "ERL_LIBS": str(_libraries()),
        "ERL_CRASH_DUMP": str(folder / "crash.dump"),
        "EJABBERD_CONFIG_PATH": str(options),
        "EJABBERD_LOG_PATH": str(log),
    }


def _libraries() -> Path:
    for folder in sorted(Path(LIBRARIES).glob("*/ejabberd-*/ebin")):
        return folder.parent.parent
    raise Failure("ejabberd is not installed", advice="`./dev packages ejabberd erlang-p1-mysql` does so on Debian")


def _options(port: int, mysql: MysqlAddress, database: str, *, archiving: bool) -> dict[str, Any]:
    return {
        "loglevel": "warning",
        "hosts": [DOMAIN],
        "listen": [{"port": port, "ip": "127.0.0.1", "module": "ejabberd_c2s", "backlog": BACKLOG}],
        "auth_method": ["sql"],
        "auth_password_format": "plain",
        "sql_type": "mysql",
        "sql_server": mysql.host,
        "sql_port": mysql.port,
        "sql_database": database,
        "sql_username": mysql.user,
        "sql_password": mysql.password,
        "sql_pool_size": 10,
        "new_sql_schema": False,
        "modules": MODULES | (ARCHIVE if archiving else {}),
    }


def _make_database(mysql: MysqlAddress, database: str, users: Iterable[str]) -> None:
    """Make the tables that the package brings, and the users."""
    try:
        schema = SCHEMA.read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(f"ejabberd's schema is missing: {error}", advice="install ejabberd from Debian") from None
    connection = pymysql.connect(
        host=mysql.host,
        port=mysql.port,
        user=mysql.user,
        password=mysql.password,
        autocommit=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database}; USE {database};\n{schema}")
        while cursor.nextset():
            pass
        rest = iter(users)
        while names := list(islice(rest, 1_000)):
            rows = ",".join(f"('{name}','{PASSWORD}')" for name in names)
            cursor.execute(f"INSERT INTO users (username, password) VALUES {rows}")  # noqa: S608 - names of our own


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    for _ in range(round(START_S / LOOK_S)):
        if process.returncode is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(LOOK_S)
            continue
        writer.close()
        return
    raise Failure("ejabberd does not listen", log=log, advice="see its log; `erlang-p1-mysql` is needed beside it")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
