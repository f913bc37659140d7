"""`down`: stops a stack."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from chatctl.deployment import LOCAL, LocalDir
from chatctl.failure import Failure
from chatctl.stack import strays
from chatctl.stack.supervisor import is_locked

DOWN_S = 90.0
"""Seconds for all to stop in order: the longest deadline of each role, added up."""


def down(*, dir: LocalDir = LOCAL) -> None:  # noqa: A002 - the option's name is fixed
    """Stop the stack, in order. Its data stays."""
    folder = dir.resolve()
    if is_locked(folder):
        _end_supervisor(folder)
    if folder.is_dir() and (killed := strays.end(folder)):
        print(f"ended {killed} processes that a killed supervisor had left")
    print("The stack is down.")


def _end_supervisor(folder: Path) -> None:
    with suppress(OSError, ValueError):
        os.kill(int((folder / "supervisor.pid").read_text(encoding="ascii")), signal.SIGTERM)
    deadline = time.monotonic() + DOWN_S
    while is_locked(folder):
        if time.monotonic() > deadline:
            raise Failure(f"the stack in {folder} did not stop", advice=f"look at {folder / 'logs'}")
        time.sleep(0.1)
