"""Ends what a stack left behind whose supervisor was killed. It touches only processes that carry the stack's mark."""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

from chatctl.stack.program import STACK_MARK

PROC = Path("/proc")
END_S = 10.0
"""Seconds that the kernel gets to end a killed process: one with much memory, or in disk wait, takes a moment."""


def find(stack: Path) -> list[int]:
    """Return the processes whose environment says that they were started for this stack.

    The process ids in `stack.json` may belong to somebody else by now, and miss who was started in the last moment.
    """
    return [int(entry.name) for entry in PROC.glob("[0-9]*") if _belongs(int(entry.name), stack)]


def end(stack: Path) -> int:
    """Kill this stack's strays, wait until they are gone, and return how many there were.

    For a stack without a supervisor only: nobody is left who could stop them in order.
    """
    strays = [pid for pid in find(stack) if pid != os.getpid()]
    for pid in strays:
        _kill(pid, stack)
    return len(strays)


def _kill(pid: int, stack: Path) -> None:
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if _belongs(pid, stack):  # asked again: from here on the handle cannot mean another process
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], END_S)
        finally:
            os.close(handle)


def _belongs(pid: int, stack: Path) -> bool:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:  # it ended, or it is somebody else's
        return False
    return f"{STACK_MARK}={stack}".encode() in environment.split(b"\0")
