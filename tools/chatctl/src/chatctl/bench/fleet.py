"""Owns the generator processes of a run: starts them, tells all of them the same, adds up what they say."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Self

import orjson

from chatctl.bench.job import Job, Tally
from chatctl.failure import Failure

CONNECT_S: Final = 600.0
"""Seconds for all handshakes: 50,000 at 1 ms each on two cores, several times over."""
ANSWER_S: Final = 120.0
LINE_BYTES: Final = 16 * 1024 * 1024
"""The longest answer: histograms of a run."""


class Fleet:
    """Running generators. Leaving the block ends them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._processes: list[asyncio.subprocess.Process] = []
        self._cpu_s = 0.0

    async def __aenter__(self) -> Self:
        """Start them; returns when every device is connected and synced."""
        try:
            for job in self._jobs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "chatctl.bench.generator",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=LINE_BYTES,
                )
                self._processes.append(process)
                self._write(process, job.encode())
            await self._hear(CONNECT_S)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End them."""
        await self._end()

    async def start(self) -> None:
        """Begin the load."""
        await self._tell("start")

    async def mark(self) -> Tally:
        """Give what all counted since the last mark, and their CPU time since then."""
        total = Tally()
        for answer in await self._tell("mark"):
            total.add(Tally.load(answer))
        total.cpu_s, self._cpu_s = total.cpu_s - self._cpu_s, total.cpu_s
        return total

    async def finish(self) -> dict[str, int]:
        """Stop the load; gives what is missing by name, nothing where all is well."""
        missing: dict[str, int] = {}
        for answer in await self._tell("finish"):
            for name, count in answer.items():
                missing[name] = missing.get(name, 0) + count
        return {name: count for name, count in missing.items() if count}

    async def _tell(self, command: str) -> list[dict[str, Any]]:
        for process in self._processes:
            self._write(process, command.encode() + b"\n")
        return await self._hear(ANSWER_S)

    async def _hear(self, within_s: float) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(within_s):
                lines = await asyncio.gather(*(self._line(process) for process in self._processes))
        except TimeoutError:
            raise Failure(f"a generator did not answer within {within_s:.0f} s", advice="try fewer devices") from None
        return [orjson.loads(line) for line in lines]

    async def _line(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None  # noqa: S101 - a pipe
        line = await process.stdout.readline()
        if not line:
            raise Failure("a generator ended before its time", advice="see what it said above")
        return line

    def _write(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        assert process.stdin is not None  # noqa: S101 - a pipe
        process.stdin.write(line)

    async def _end(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*(process.wait() for process in self._processes))
