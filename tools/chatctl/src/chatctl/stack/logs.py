"""The logs of the stack's processes: one bounded file each. It writes no line itself."""

import asyncio
import os
import shutil
from pathlib import Path

MAX_LOG_BYTES = 16 * 1024 * 1024
"""Bytes of one log; the part before is kept once, as `<name>.log.1`. A day of a quiet stack fits many times."""

LOOK_EVERY_S = 10.0
"""How often sizes are looked at. A process that writes 10 MB/s exceeds its bound by 100 MB, once."""


def folder_in(stack: Path) -> Path:
    """Return the folder of the logs."""
    return stack / "logs"


def path_of(stack: Path, name: str) -> Path:
    """Return the log of one process."""
    return folder_in(stack) / f"{name}.log"


def open_log(stack: Path, name: str) -> int:
    """Open a process's log for appending and return its descriptor, which the caller closes.

    Appending is what makes truncation safe: each write goes to the end that the file has then.
    """
    folder_in(stack).mkdir(parents=True, exist_ok=True)
    return os.open(path_of(stack, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def bound(log: Path) -> None:
    """Put a log that is too large aside and empty it in place: its writer keeps it open.

    Lines written between the copy and the truncation are lost.
    """
    if log.stat().st_size > MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


async def keep_bounded(stack: Path) -> None:
    """Bound all logs now and then, until cancelled."""
    while True:
        for log in folder_in(stack).glob("*.log"):
            bound(log)
        await asyncio.sleep(LOOK_EVERY_S)
