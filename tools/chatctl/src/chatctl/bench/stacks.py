"""Owns the private stacks that are measured: started as `./dev up` starts one, durable commits included."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from chatctl.failure import Failure
from chatctl.stack import stack_file
from chatctl.stack.stack_file import StackFile

UP_S: Final = 300.0


class BenchStack:
    """A stack that runs in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> StackFile:
        """What runs now."""
        return stack_file.read_running(self.folder)


@asynccontextmanager
async def running(folder: Path, *, gateways: int, workers: int) -> AsyncIterator[BenchStack]:
    """Run a stack with empty data; its folder is removed at the end, and it stops when this process ends."""
    options = (f"--dir={folder}", "--port=0", f"--gateways={gateways}", f"--workers={workers}")
    try:
        await asyncio.to_thread(_run, "up", "--detach", "--fresh", f"--owner={os.getpid()}", *options)
        yield BenchStack(folder)
    finally:
        await asyncio.to_thread(_run, "down", f"--dir={folder}")
        shutil.rmtree(folder, ignore_errors=True)


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatctl", *arguments], capture_output=True, text=True, timeout=UP_S, check=False
    )
    if done.returncode != 0:
        raise Failure(f"`{arguments[0]}` failed:\n{done.stdout}{done.stderr}", advice="mend what it says")
