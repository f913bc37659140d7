"""A worker that is told to end hands its partitions over: seconds, where those of one that crashed take up to 8.

It is read off Redis's own record of commands, and counted in beats, of which a worker has one a second: the leaver has
one more at most, and the successor takes over with its second one after that. So 3 s wherever workers beat in time; how
long it took by Redis's clock is logged (`--log-cli-level=info`).
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chatcore.keys import Keys
from chatctl.verify.history import Refusal

from tests.conftest import MakeStack
from tests.e2e.scenery import stage
from tests.harness.stack import Stack
from tests.harness.system import ExtraService

KEYS: Final = Keys()
SIGNALLED: Final = "signalled"
DEADLINE_S: Final = 60.0
"""Of conditions."""
ENDLESS: Final = 1 << 30

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Record:
    """Redis's commands about owners, in its own order, each with its own time."""

    lines: list[tuple[float, str]] = field(default_factory=list)

    async def listen(self, monitor: Any) -> None:
        """Take them down until cancelled."""
        async for command in monitor.listen():
            self.lines.append((command["time"], command["command"]))

    def first(self, *words: str) -> int | None:
        """Find the first command in which all of these occur."""
        return next((at for at, (_, line) in enumerate(self.lines) if all(word in line for word in words)), None)

    def beats(self, worker: str, first: int, last: int) -> int:
        """Count a worker's beats between two places."""
        between = [line for _, line in self.lines[first:last]]
        return sum(line.startswith("EVALSHA") and KEYS.workers in line and worker in line for line in between)

    def opened(self, since: int) -> dict[str, int]:
        """Tell which streams got a group since then, and where."""
        made = {}
        for at, (_, line) in enumerate(self.lines[since:], since):
            if line.startswith("XGROUP CREATE "):
                made[line.split()[2]] = at
        return made


@asynccontextmanager
async def recorded(system: Stack) -> AsyncIterator[Record]:
    """Record what Redis does."""
    redis, record = system.redis(), Record()
    async with redis.monitor() as monitor:
        listening = asyncio.create_task(record.listen(monitor), name="record")
        try:
            yield record
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    await redis.aclose()


async def owned(system: Stack) -> dict[str, set[int]]:
    """Tell which partitions each worker owns."""
    found: dict[str, set[int]] = {}
    async with system.mysql() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT owner, partition_id FROM partition_owner")
        for owner, partition in await cursor.fetchall():
            found.setdefault(owner, set()).add(partition)
    return found


async def shared_by(system: Stack, names: Sequence[str]) -> dict[str, str]:
    """Wait until workers of these names own everything, and each something; gives their ids by their names."""
    workers: dict[str, str] = {}
    async with asyncio.timeout(DEADLINE_S):
        while workers.keys() != set(names):
            await asyncio.sleep(0.1)
            workers = {worker.rpartition(".")[0]: worker for worker in await owned(system)}
    return workers


async def test_a_worker_that_ends_hands_over_within_three_beats_and_no_message_is_refused_meanwhile(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    extra = await ExtraService.start(system, "worker-1", log=tmp_path / "extra.log")
    try:
        workers = await shared_by(system, ["worker-1", "worker-1-extra"])
        leaver, successor = workers["worker-1-extra"], workers["worker-1"]
        left = {KEYS.inbox(partition) for partition in (await owned(system))[leaver]}
        async with stage(system, users=12, peers=2) as scene, recorded(system) as record:
            over = asyncio.Event()
            load = asyncio.create_task(scene.load(ENDLESS, 100).run(until=over), name="load")
            try:
                await _hand_over(system, extra, record, left)
            finally:
                over.set()
                messages = await load
            await scene.judge(messages=messages)
        assert await extra.exit_code() == 0, extra.log_tail()
    finally:
        await extra.kill()
    assert [seen for seen in scene.history.observations if isinstance(seen, Refusal)] == []
    signalled, gone = record.first(SIGNALLED), record.first("ZREM", KEYS.workers, leaver)
    assert signalled is not None
    assert gone is not None
    last = max(record.opened(gone)[stream] for stream in left)
    log.info("handed over in %.2f s, by Redis's clock", record.lines[last][0] - record.lines[signalled][0])
    assert record.beats(leaver, signalled, gone) <= 1
    assert record.beats(successor, gone, last) == 2


async def _hand_over(system: Stack, leaver: ExtraService, record: Record, streams: set[str]) -> None:
    """Tell a worker to end, and wait until its streams are opened by another one."""
    redis = system.redis()
    leaver.signal(signal.SIGTERM)
    await redis.echo(SIGNALLED)
    await redis.aclose()
    async with asyncio.timeout(DEADLINE_S):
        while (at := record.first(SIGNALLED)) is None or not streams <= record.opened(at).keys():
            await asyncio.sleep(0.05)
