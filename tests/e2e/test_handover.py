"""A worker that ends hands its partitions over, and one that is killed is replaced once its time has run out.

It is read off Redis's own record of commands, and counted in beats, of which a worker has one a second. The leaver has
one more at most, and its successor takes over with the second one after that: within 3 s. One that is killed counts as
alive for 4 s after its last: within 7 s. So it is wherever workers beat in time; what it took by Redis's clock is
logged (`--log-cli-level=info`).
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chatcore.keys import Keys
from chatctl.verify.history import History, Refusal
from delivery_worker.inbox import DEAD_MS

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
        return sum(_is_beat(line, worker) for _, line in self.lines[first:last])

    def last_beat_s(self, worker: str) -> float:
        """Tell when a worker beat last."""
        return next(at_s for at_s, line in reversed(self.lines) if _is_beat(line, worker))

    def past(self, moment_s: float) -> int:
        """Find the first command after a moment."""
        return next(at for at, (at_s, _) in enumerate(self.lines) if at_s > moment_s)

    def opened(self, since: int) -> dict[str, int]:
        """Tell which streams got a group since then, and where."""
        made = {}
        for at, (_, line) in enumerate(self.lines[since:], since):
            if line.startswith("XGROUP CREATE "):
                made[line.split()[2]] = at
        return made


def _is_beat(line: str, worker: str) -> bool:
    return line.startswith("EVALSHA") and KEYS.workers in line and worker in line


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


@dataclass(frozen=True, slots=True)
class Passed:
    """What there is to see of partitions that went from one worker to another, under load."""

    record: Record
    history: History
    leaver: str
    successor: str
    signalled: int
    """Where the record was when the leaver had its signal."""
    taken: int
    """Where the last of its streams was opened by its successor."""
    exit_code: int

    def took_s(self) -> float:
        """Tell how long it took, by Redis's clock."""
        return self.record.lines[self.taken][0] - self.record.lines[self.signalled][0]


async def passed_on(make_stack: MakeStack, folder: Path, number: signal.Signals) -> Passed:
    """Send one of two workers a signal under load, wait until all is the other's, and judge every message."""
    system = await make_stack(gateways=1, workers=1, presence=1)
    extra = await ExtraService.start(system, "worker-1", log=folder / "extra.log")
    try:
        workers = await shared_by(system, ["worker-1", "worker-1-extra"])
        leaver = workers["worker-1-extra"]
        left = {KEYS.inbox(partition) for partition in (await owned(system))[leaver]}
        async with stage(system, users=12, peers=2) as scene, recorded(system) as record:
            over = asyncio.Event()
            load = asyncio.create_task(scene.load(ENDLESS, 100).run(until=over), name="load")
            try:
                signalled = await _signalled(system, extra, number, record, leaver)
                await until(lambda: left <= record.opened(signalled).keys())
            finally:
                over.set()
                messages = await load
            await scene.judge(messages=messages)
        code = await extra.exit_code()
    finally:
        await extra.kill()
    taken = max(record.opened(signalled)[stream] for stream in left)
    passed = Passed(record, scene.history, leaver, workers["worker-1"], signalled, taken, code)
    log.info("%s: taken over after %.2f s, by Redis's clock", number.name, passed.took_s())
    return passed


async def _signalled(system: Stack, extra: ExtraService, number: signal.Signals, record: Record, leaver: str) -> int:
    """Send a signal to a worker that was seen to beat; gives where the record is then."""
    await until(lambda: record.beats(leaver, 0, len(record.lines)) > 0)
    redis = system.redis()
    extra.signal(number)
    await redis.echo(SIGNALLED)
    await redis.aclose()
    await until(lambda: record.first(SIGNALLED) is not None)
    signalled = record.first(SIGNALLED)
    assert signalled is not None
    return signalled


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.05)


async def test_a_worker_that_ends_hands_over_within_three_beats_and_no_message_is_refused_meanwhile(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    seen = await passed_on(make_stack, tmp_path, signal.SIGTERM)
    assert seen.exit_code == 0
    assert [one for one in seen.history.observations if isinstance(one, Refusal)] == []
    gone = seen.record.first("ZREM", KEYS.workers, seen.leaver)
    assert gone is not None
    assert seen.record.beats(seen.leaver, seen.signalled, gone) <= 1
    assert seen.record.beats(seen.successor, gone, seen.taken) == 2


async def test_a_worker_that_is_killed_is_replaced_two_beats_after_its_time_has_run_out(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    seen = await passed_on(make_stack, tmp_path, signal.SIGKILL)
    dead = seen.record.past(seen.record.last_beat_s(seen.leaver) + DEAD_MS / 1000)
    assert seen.record.beats(seen.successor, dead, seen.taken) == 2
