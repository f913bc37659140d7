"""Owns the worker's one loop over all its partitions (R9), and its ownership of them (R1, R2).

Its inputs: the streams' entries, the beat's list of live workers, and what the stores answer. Only this loop beats,
and only while both stores answered within `ALIVE_S`. Whatever fails, the entries stay in the streams.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from time import monotonic
from typing import Final

from chatcore.delivery import Memory
from chatcore.errors import StoreUnavailable
from chatcore.logs import get_logger
from chatcore.redis_clock import RedisClock

from delivery_worker.batch import Batch, take, without
from delivery_worker.committer import Committer, Outcome
from delivery_worker.inbox import DEAD_MS, Inbox, StreamEntry
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.partitions import Claims
from delivery_worker.router import Router
from delivery_worker.store.batches import Repeat
from delivery_worker.store.ownership import Meta, OwnerStore
from delivery_worker.undelivered import Undelivered

BEAT_S: Final = 1.0
ALIVE_S: Final = DEAD_MS / 1000
"""Without an answer of a store for so long a worker does not beat; without a beat for so long it is dead (R1d)."""
IDLE_S: Final = 3.0
"""An idle MySQL session is asked something this often; the server ends it after 8 s (R2a)."""
BACKOFF_S: Final = 0.5
"""The longest pause after a failed try, jittered. Well under a beat."""
READ_COUNT: Final = 16
"""Entries per stream and read, and the bound of what is in memory: nothing more is read before these are handled."""
HELD_ENTRIES: Final = 4_096
"""Entries of locked partitions that wait; past it the loop waits with them instead of reading on."""
TIDY_S: Final = 5.0
"""Seconds between two looks for groups of older epochs: a request for one may have been on its way for longer than the
takeover. What its maker reads is fenced, and nothing waits for it: it only stays pending."""
HOLD_S: Final = 0.25
"""How long the entries of a locked partition wait for the next try."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """The size of a batch."""

    events: int
    bytes: int


class WorkerLoop:
    """Reads, commits, publishes, settles; beats, takes over, and gives way."""

    def __init__(
        self,
        *,
        worker: str,
        meta: Meta,
        inbox: Inbox,
        owners: OwnerStore,
        committer: Committer,
        memory: Memory,
        router: Router,
        metrics: WorkerMetrics,
        limits: Limits,
        undelivered: Undelivered,
        clock: RedisClock,
        make_batch: Callable[[list[StreamEntry], int], Batch] = Batch,
    ) -> None:
        self._meta = meta
        self._inbox = inbox
        self._owners = owners
        self._committer = committer
        self._memory = memory
        self._router = router
        self._metrics = metrics
        self._limits = limits
        self._undelivered, self._clock = undelivered, clock
        self._make_batch = make_batch
        self._claims = Claims(worker, meta.partitions)
        self._owned: frozenset[int] = frozenset()
        self._epoch = 0
        self._pending: deque[StreamEntry] = deque()
        self._held: deque[StreamEntry] = deque()
        self._in_hand: list[StreamEntry] = []
        self._held_until = 0.0
        self._replay = False
        self._beat_at = self._mysql_at = self._due_at = self._tidy_at = monotonic()
        self._stopping = False
        self._stopped = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether both stores answered lately: what readiness asks."""
        return monotonic() - min(self._beat_at, self._mysql_at) < ALIVE_S + BEAT_S

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this worker owns, as far as it knows."""
        return self._owned

    def oldest_s(self) -> dict[str, float]:
        """Give the age of the oldest unsettled entry of each owned partition, by Redis's clock."""
        oldest = {str(partition): 0.0 for partition in sorted(self._owned)}
        now_ms = self._clock.now_ms()
        for entry in (*self._in_hand, *self._held, *self._pending):
            name, age_s = str(entry.partition), (now_ms - entry.written_ms) / 1000
            if age_s > oldest.get(name, age_s):
                oldest[name] = age_s
        return oldest

    async def run(self) -> None:
        """Work until `stop`. A store's failure is waited out; anything else ends the task, and so the service."""
        try:
            while not self._stopping:
                try:
                    await self._turn()
                except StoreUnavailable as error:
                    log.warning("store_unavailable", error=str(error))
                    self._metrics.repeats.counts["store"] += 1
                    await asyncio.sleep(uniform(BACKOFF_S / 4, BACKOFF_S))  # noqa: S311 - jitter
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Finish the batch in hand, settle it, and leave `chat:workers`, so that others take over at once."""
        self._stopping = True
        await self._stopped.wait()
        await self._inbox.leave()

    async def _turn(self) -> None:
        await self._stay_alive()
        if not self._owned:
            await asyncio.sleep(BEAT_S / 4)
            return
        self._release()
        if not self._pending and len(self._held) < HELD_ENTRIES:
            await self._read()
        if self._pending:
            await self._handle()
        elif len(self._held) >= HELD_ENTRIES:
            await asyncio.sleep(HOLD_S)

    # -- being alive, and owning ---------------------------------------------------------------------------------------

    async def _stay_alive(self) -> None:
        now = monotonic()
        if now - self._beat_at > ALIVE_S:
            self._start_over()
        if now < self._due_at:
            return
        if now - self._mysql_at > IDLE_S:
            await self._owners.ping()
            self._mysql_at = monotonic()
        live = await self._inbox.beat(self._meta.partitions, self._meta.database_epoch)
        self._beat_at = monotonic()
        self._due_at = now + BEAT_S
        if now >= self._tidy_at and self._owned:
            await self._inbox.tidy(self._epoch, sorted(self._owned))
            self._tidy_at = now + TIDY_S
        change = self._claims.beat(live, self._owned)
        if change.drop:
            self._drop(change.drop)
            self._disown()
        if change.take:
            await self._adopt(change.take)

    def _start_over(self) -> None:
        """R1d: to the others this worker was dead, whatever it did meanwhile; its group may be gone, its epoch old."""
        if self._owned:
            log.warning("started_over", partitions=len(self._owned))
        self._claims.reset()
        self._drop(self._owned)
        self._disown()
        self._memory.clear()
        self._beat_at = monotonic()
        self._due_at = self._beat_at

    def _drop(self, partitions: frozenset[int]) -> None:
        self._owned -= partitions
        self._pending = deque(without(self._pending, partitions))
        self._held = deque(without(self._held, partitions))
        self._metrics.owned.set(len(self._owned))

    def _disown(self) -> None:
        """Follow no deliveries but those of what is owned."""
        gone = self._undelivered.retain(self._owned, self._meta.partitions)
        self._metrics.undelivered_ends.counts["disowned"] += gone

    async def _adopt(self, take: frozenset[int] = frozenset()) -> None:
        """Own everything anew under a later epoch, and read all that is unsettled from the start (R2).

        All partitions of a worker share one epoch, and so one group name: one XREADGROUP reads them all.
        """
        keep = self._owned
        self._drop(keep)
        self._memory.clear()
        epoch = await self._owners.next_epoch()
        owned = await self._owners.raise_epoch(epoch, sorted(keep), sorted(take))
        self._mysql_at = monotonic()
        await self._inbox.open(epoch, sorted(owned))
        self._epoch, self._owned, self._replay = epoch, owned, True
        self._metrics.takeovers.inc(len(owned - keep))
        self._metrics.owned.set(len(owned))
        self._disown()
        log.info("partitions_owned", epoch=epoch, owned=len(owned), taken=len(owned - keep))

    # -- batches -------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            entries = await self._inbox.read(self._epoch, sorted(self._owned), READ_COUNT)
        except StoreUnavailable as error:
            # NOGROUP: Redis was wiped, or somebody took over. Any other error: what was read is unknown.
            log.warning("read_failed", error=str(error))
            await self._adopt()
            return
        if not entries:
            self._replay = False
        held = {entry.partition for entry in self._held}
        for entry in entries:
            (self._held if entry.partition in held else self._pending).append(entry)
        self._metrics.pending.set(len(self._pending) + len(self._held))

    def _hold(self, entries: list[StreamEntry]) -> None:
        """Set aside the entries of locked partitions, and what came after them: the rest goes on (R2a)."""
        partitions = frozenset(entry.partition for entry in entries)
        behind = [entry for entry in self._pending if entry.partition in partitions]
        self._pending = deque(without(self._pending, partitions))
        self._held.extend([*entries, *behind])
        self._held_until = monotonic() + HOLD_S

    def _release(self) -> None:
        if self._held and monotonic() >= self._held_until:
            self._pending.extendleft(reversed(self._held))
            self._held.clear()

    async def _handle(self) -> None:
        taken = take(self._pending, most_entries=self._limits.events, most_bytes=self._limits.bytes)
        self._in_hand = taken
        try:
            await self._handle_taken(taken)
        finally:
            self._in_hand = []

    async def _handle_taken(self, taken: list[StreamEntry]) -> None:
        try:
            batch = self._make_batch(taken, self._meta.partitions)
            self._time(batch)
            outcome = await self._commit(batch)
        except (StoreUnavailable, Repeat) as error:
            # They stay this worker's to handle, in their order; some may be committed by now.
            self._pending.extendleft(reversed(taken))
            self._replay = True
            if isinstance(error, StoreUnavailable):
                raise
            log.warning("batch_repeats", error=str(error))
            self._metrics.repeats.counts["rolled_back"] += 1
            await asyncio.sleep(uniform(0, BACKOFF_S / 4))  # noqa: S311 - jitter
            return
        await self._publish(batch, outcome)

    def _time(self, batch: Batch) -> None:
        self._metrics.batch_events.observe(len(batch.items))
        now_ms = self._clock.now_ms()
        for packed in batch.packed:
            self._metrics.stream_seconds.observe(max(0.0, now_ms - packed.written_ms) / 1000, packed.events)

    async def _commit(self, batch: Batch) -> Outcome:
        if not batch.items:
            return Outcome()
        outcome = await self._committer.commit(self._epoch, batch.items, replay=self._replay)
        self._mysql_at = monotonic()
        return outcome

    async def _publish(self, batch: Batch, outcome: Outcome) -> None:
        """Publish and settle what was handled; what was fenced off is another's, what is locked waits."""
        if outcome.lost:
            log.warning("fenced", partitions=sorted(outcome.lost), epoch=self._epoch)
            self._drop(outcome.lost)
            self._disown()
        left = outcome.lost | outcome.locked
        handled = without(batch.entries, left)
        if outcome.locked:
            self._hold([entry for entry in batch.entries if entry.partition in outcome.locked])
        began = monotonic()
        try:
            online = await self._router.publish(
                outcome.plans,
                refused=batch.refused,
                settle=handled,
                epoch=self._epoch,
                dead=[*batch.dead, *outcome.dead],
                packed=[packed for packed in batch.packed if packed.partition not in left] if left else batch.packed,
            )
        except StoreUnavailable:
            # Nobody knows whether it was published: everything unsettled is read again, and published again (R3).
            await self._adopt()
            raise
        now = monotonic()
        self._metrics.publish_seconds.observe(now - began)
        self._metrics.undelivered_ends.counts["full"] += self._undelivered.published(outcome.plans, online, now)
        self._metrics.pending.set(len(self._pending))
        self._metrics.remembered.set(len(self._memory))
