"""What one process of the stack is and how it is started and ended. It never decides that it should be."""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatctl.stack import logs
from chatctl.stack.stack_file import ProcessEntry, Role

STACK_MARK = "CHATCTL_STACK"
"""The environment variable that names a process's stack: by it `strays` knows one for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How to start one process of the stack."""

    name: str
    role: Role
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """Set beside what the supervisor's own environment has."""
    url: str | None = None
    metrics_url: str | None = None
    stop_s: float
    """Seconds from SIGTERM to SIGKILL."""

    def entry(self, pid: int | None) -> ProcessEntry:
        """Return what `stack.json` says of it."""
        return ProcessEntry(name=self.name, role=self.role, pid=pid, url=self.url, metrics_url=self.metrics_url)


async def start(program: Program, stack: Path) -> asyncio.subprocess.Process:
    """Start a program with its output in its log, in a group of its own: Ctrl-C reaches the supervisor alone."""
    log = logs.open_log(stack, program.name)
    try:
        return await asyncio.create_subprocess_exec(
            *dying_with_its_parent(),
            *program.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **program.environment, STACK_MARK: str(stack)},
            process_group=0,
        )
    finally:
        os.close(log)


async def stop(process: asyncio.subprocess.Process, deadline_s: float) -> None:
    """End a process: SIGTERM, and SIGKILL when it is still there at the deadline. Cancelling kills it at once."""
    _signal(process, signal.SIGTERM)
    _signal(process, signal.SIGCONT)  # a stopped process would see its SIGTERM only when continued
    try:
        async with asyncio.timeout(deadline_s):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()
    except asyncio.CancelledError:
        _signal(process, signal.SIGKILL)
        raise


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def dying_with_its_parent() -> tuple[str, ...]:
    """Let the kernel kill the program when the supervisor ends without having stopped it (prctl(2), PR_SET_PDEATHSIG).

    SIGKILL, because a hung process heeds nothing else, and everything here must survive one. `setpriv` (util-linux)
    asks for it and then becomes the program, so the process id is the program's; a `preexec_fn` would run Python
    between fork and exec. Where it is missing, the next `up` clears what was left.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
