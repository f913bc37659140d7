"""Owns the process of one generator: reads its job, obeys the commands on its standard input, answers with lines.

`ready` is said after connecting. Then: `start`, `mark` (gives what was counted since the last one), `finish`.
"""

import asyncio
import gc
import os
import sys
from typing import Any

import orjson
import uvloop

from chatctl.bench.job import Job
from chatctl.bench.loads.away import Away
from chatctl.bench.loads.idle import Idle
from chatctl.bench.loads.load import Load
from chatctl.bench.loads.pairs import Pairs
from chatctl.bench.loads.stanzas import Stanzas

LOADS: dict[str, type[Load]] = {"pairs": Pairs, "away": Away, "idle": Idle, "stanzas": Stanzas}
YOUNG_THRESHOLD = 50_000
"""Allocations between two young collections: a generator makes no cycles, and its pauses must not be the server's."""


async def _commands() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


async def _obey(load: Load, command: bytes) -> dict[str, Any]:
    if command == b"start":
        load.start()
        return {}
    if command == b"mark":
        tally = load.mark()
        tally.cpu_s = _cpu_s()
        return tally.dump()
    if command == b"finish":
        return dict(await load.finish())
    raise ValueError(f"no such command: {command!r}")


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """End at the first fault of our own: a load that goes on without a device would measure something else."""
    loop.default_exception_handler(context)
    os._exit(1)


async def _main() -> None:
    asyncio.get_running_loop().set_exception_handler(_give_up)
    commands = await _commands()
    job = Job.decode(await commands.readline())
    load = LOADS[job.load](job)
    await load.connect()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_THRESHOLD, 20, 100)
    _say({"ready": job.count})
    while line := await commands.readline():
        _say(await _obey(load, line.strip()))


if __name__ == "__main__":
    uvloop.run(_main())
