"""`up`: the local stack, in the foreground or behind one's back."""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chatctl.deployment import LOCAL
from chatctl.failure import Failure
from chatctl.stack import stack_file
from chatctl.stack.mysql_flavours import FlavourName
from chatctl.stack.stack_file import StackFile
from chatctl.stack.supervisor import Options, Supervisor, is_locked
from chatctl.tokens import sign

DETACH_S = 240.0
"""Seconds for a detached start: all the supervisor's own steps fit into it."""

TOKEN_S = 24 * 3600
"""Seconds for which the printed tokens serve: a day's work."""

READY = "ready"
"""The file in the stack's folder that says to a waiting `up --detach` that all is ready."""


Gateways = Annotated[int, Parameter(help="How many gateways; 0 for none.")]
Workers = Annotated[int, Parameter(help="How many delivery workers; 0 for none.")]
Presence = Annotated[int, Parameter(help="How many presence services; 0 for none.")]
Port = Annotated[
    int,
    Parameter(help="The first gateway's port; those that are taken are passed over; 0 chooses private ones."),
]
Folder = Annotated[Path, Parameter(help="Where the stack keeps its data, its logs and `stack.json`.")]
Detach = Annotated[bool, Parameter(negative="", help="Return when it is ready; `down` stops it.")]
Fresh = Annotated[bool, Parameter(negative="", help="Begin with empty data.")]
Database = Annotated[
    FlavourName, Parameter(help="`mysql` fetches a real MySQL, on Debian; the default is the machine's MariaDB.")
]
Set = Annotated[tuple[str, ...], Parameter(help="Settings for all services, as NAME=value.")]
Owner = Annotated[int | None, Parameter(help="Stop when the process with this id ends, however it ends.")]


def up(
    *,
    gateways: Gateways = 2,
    workers: Workers = 2,
    presence: Presence = 1,
    port: Port = 8080,
    dir: Folder = LOCAL,  # noqa: A002 - the option's name is fixed
    detach: Detach = False,
    fresh: Fresh = False,
    database: Database = "mariadb",
    set: Set = (),  # noqa: A002 - the option's name
    owner: Owner = None,
) -> None:
    """Start the stack, wait until it is ready, and keep it running until Ctrl-C."""
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
        owner=owner,
    )
    _make(folder)
    if is_locked(folder) and not fresh and (running := stack_file.read(folder)) and running.is_up():
        print("The stack was up already; its options are as they were.")
        _describe(running, folder)
    elif detach:
        _detach(options)
    else:
        asyncio.run(Supervisor(options, lambda stack: _announce(stack, options)).run())


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failure(
            f"cannot use {folder} as the stack's folder: {error.strerror}",
            advice="choose one that can be written with --dir",
        ) from None


def _announce(stack: StackFile, options: Options) -> None:
    print("The stack is up.")
    if options.port and options.gateways and not any(url.endswith(f":{options.port}") for url in stack.gateway_urls()):
        print(f"  port {options.port} was taken: other ports were chosen")
    _describe(stack, options.folder)
    (options.folder / READY).touch()


def _describe(stack: StackFile, folder: Path) -> None:
    for url in stack.gateway_urls():
        print(f"  gateway  {url}/v1/ws?device=phone")
    for user in ("alice", "bob"):
        print(f"  token of {user}: {sign(stack.jwt, user, ttl_s=TOKEN_S)}")
    where = "" if folder == LOCAL.resolve() else f" --dir={shlex.quote(str(folder))}"
    print(f"  chat with `./dev chat alice bob{where}`; logs in {folder / 'logs'}", flush=True)
    print(f"  stop with Ctrl-C or `./dev down{where}`", flush=True)


def _detach(options: Options) -> None:
    """Run the supervisor in a session of its own, and wait until it says that it is ready."""
    (options.folder / READY).unlink(missing_ok=True)
    output = options.folder / "supervisor.log"
    with output.open("wb") as log:
        command = [sys.executable, "-m", "chatctl", "up", *_arguments(options)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=os.environ
        )
    try:
        _wait_until_ready(process, options.folder, output)
    except BaseException:  # Ctrl-C too: what is not ready does not stay behind
        process.terminate()
        raise
    print(output.read_text(encoding="utf-8"), end="")


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path, output: Path) -> None:
    deadline = time.monotonic() + DETACH_S
    while not (folder / READY).exists():
        if process.poll() is not None:
            raise Failure("the stack did not start", log=output, advice="mend what the log says, and try again")
        if time.monotonic() > deadline:
            raise Failure(f"the stack was not ready within {DETACH_S:.0f} s", log=output, advice="read the logs")
        time.sleep(0.1)


def _arguments(options: Options) -> list[str]:
    """Return the options of a supervisor in the foreground that does the same."""
    counts = {"gateways": options.gateways, "workers": options.workers, "presence": options.presence}
    named = {**counts, "port": options.port, "dir": options.folder, "database": options.database}
    arguments = [f"--{name}={value}" for name, value in named.items()]
    arguments += [f"--set={name}={value}" for name, value in options.environment.items()]
    arguments += ["--fresh"] if options.fresh else []
    return arguments if options.owner is None else [*arguments, f"--owner={options.owner}"]
