"""Keeps one program running: starts it again whenever it ends, until told to stop."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from chatctl.stack import program as programs
from chatctl.stack.program import Program

BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits before the first, second, … start in a row: at once for a process that somebody killed, 2 s at most."""

STEADY_S = 5.0
"""A process that ran this long ended for a new reason: its waits begin at the first again."""


class Keeper:
    """One program and the process that runs it now. `changed` is called at each start and each end."""

    def __init__(self, program: Program, *, stack: Path, changed: Callable[[], None]) -> None:
        self.program = program
        self.ended_with: int | None = None
        """The exit code of the process before, once there was one."""
        self._stack = stack
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> None:
        """Keep the program running until `stop` was called."""
        clock = asyncio.get_running_loop().time
        quick_ends = 0
        while not self._stopping.is_set():
            started = clock()
            self._process = await programs.start(self.program, self._stack)
            self._changed()
            if self._stopping.is_set():  # told so while the start was under way
                await programs.stop(self._process, self.program.stop_s)
            code = await self._process.wait()
            quick_ends = 0 if clock() - started >= STEADY_S else quick_ends
            self._process, self.ended_with = None, code
            if wait_s := BACKOFF_S[min(quick_ends, len(BACKOFF_S) - 1)]:
                self._changed()
                await self._stopped_within(wait_s)
            quick_ends += 1
        self._changed()

    async def stop(self) -> None:
        """End the program for good, by force at its deadline."""
        self._stopping.set()
        if self._process is not None:
            await programs.stop(self._process, self.program.stop_s)

    async def _stopped_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
