"""`up`: the local stack, in the foreground or behind one's back."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chatctl.failure import Failure
from chatctl.stack import stack_file
from chatctl.stack.mysql_flavours import FlavourName
from chatctl.stack.stack_file import StackFile
from chatctl.stack.supervisor import Options, Supervisor, is_locked
from chatctl.tokens import sign

DETACH_S = 240.0
"""Seconds for a detached start: all the supervisor's own steps fit into it."""


def up(
    *,
    gateways: int = 2,
    workers: int = 2,
    presence: int = 1,
    port: int = 8080,
    dir: Path = Path(".run"),  # noqa: A002 - the option's name is fixed
    detach: Annotated[bool, Parameter(negative="")] = False,
    fresh: Annotated[bool, Parameter(negative="")] = False,
    database: FlavourName = "mariadb",
    set: tuple[str, ...] = (),  # noqa: A002 - the option's name
) -> None:
    """Start the stack, wait until it is ready, and keep it running until Ctrl-C.

    Parameters
    ----------
    port: The first gateway's port; those that are taken are passed over.
    dir: Where the stack keeps its data, its logs and `stack.json`.
    detach: Return when it is ready; `down` stops it.
    fresh: Begin with empty data.
    database: `mysql` fetches a real MySQL, on Debian; the default is the machine's MariaDB.
    set: Settings for all services, as NAME=value.
    """
    folder = dir.resolve()
    environment = dict(pair.partition("=")[::2] for pair in set)
    options = Options(
        folder=folder,
        gateways=gateways,
        workers=workers,
        presence=presence,
        port=port,
        fresh=fresh,
        database=database,
        environment=environment,
    )
    if detach:
        _detach(folder)
        return
    asyncio.run(Supervisor(options, lambda stack: _announce(stack, folder, port)).run())


def _announce(stack: StackFile, folder: Path, port: int) -> None:
    urls = stack.gateway_urls()
    print("The stack is up.")
    for url in urls:
        print(f"  gateway  {url}/v1/ws?device=phone")
    if not any(url.endswith(f":{port}") for url in urls):
        print(f"  (port {port} was taken)")
    for user in ("alice", "bob"):
        print(f"  token of {user}: {sign(stack.jwt, user, ttl_s=24 * 3600)}")
    print(
        f"  chat with `./dev chat alice bob`; logs in {folder / 'logs'}; stop with Ctrl-C or `./dev down`", flush=True
    )
    (folder / "ready").touch()


def _detach(folder: Path) -> None:
    """Run the same command in a session of its own, and wait until it says that it is ready."""
    if is_locked(folder):
        raise Failure(f"a stack is up in {folder} already", advice="stop it with `./dev down`")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "ready").unlink(missing_ok=True)
    output = folder / "supervisor.log"
    with output.open("wb") as log:
        arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
        command = [sys.executable, "-m", "chatctl", *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=os.environ
        )
    deadline = time.monotonic() + DETACH_S
    while not (folder / "ready").exists():
        if process.poll() is not None:
            sys.stderr.write(output.read_text(encoding="utf-8"))
            raise Failure("the stack did not start", log=output, advice="mend what the log says, and try again")
        if time.monotonic() > deadline:
            process.terminate()
            raise Failure(f"the stack was not ready within {DETACH_S:.0f} s", log=output, advice="read the logs")
        time.sleep(0.1)
    stack_file.read_running(folder)
    print(output.read_text(encoding="utf-8"), end="")
