"""Owns how a batch is committed: fence, plan, commit, remember; and how a poison event is found by halving (R5a).

It must never remember anything before an answered COMMIT, and never take a failure of a store for poison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, NamedTuple

import orjson
from chatcore.delivery import Conversation, Memory, Plan, Refused, new_conversation, plan
from chatcore.errors import Code
from chatcore.ids import ConversationId
from chatcore.logs import get_logger
from chatcore.stream import SendEvent

from delivery_worker.batch import DeadLetter, Item
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.store.batches import BatchStore, Fence, Fenced, Poisoned, Repeat, Sought, Taken, Wanted
from delivery_worker.undelivered import Undelivered

CLOCK_S: Final = 1.0
"""For so long MySQL's clock is reckoned on from where it was read: two clocks drift apart by less than a ms in it.

It serves the messages' `ts`. The members' stamps, on which syncs rely, are MySQL's own at every commit (R4c)."""

log = get_logger(__name__)


@dataclass(slots=True)
class Outcome:
    """What became of a batch's events. Whatever is named here is committed, or needed no commit."""

    plans: list[Plan] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    lost: frozenset[int] = frozenset()
    """Partitions that turned out to be another's: nothing of their events was done."""
    locked: frozenset[int] = frozenset()
    """Partitions whose row somebody holds: their events wait."""


class Clock(NamedTuple):
    """MySQL's clock, as it was read at a moment of this process's."""

    ms: int
    read_at: float

    def now_ms(self, at: float) -> int:
        """Tell what it says `at` a moment."""
        return self.ms + int((at - self.read_at) * 1000)


class Committer:
    """Commits the events of an owner's batches, one at a time."""

    def __init__(self, store: BatchStore, memory: Memory, metrics: WorkerMetrics, undelivered: Undelivered) -> None:
        self._store = store
        self._undelivered = undelivered
        self._memory = memory
        self._metrics = metrics
        self._skip_locked = False
        self._clock = Clock(0, -CLOCK_S)

    async def commit(self, epoch: int, items: Sequence[Item], *, replay: bool) -> Outcome:
        """Commit what this owner may commit of `items`.

        `replay`: some may be stored already, so their ids are looked up first. Raises `Repeat` and
        `StoreUnavailable`: every conversation of the batch is forgotten then, and the same items may come again.
        Cancelling is safe: it forgets as well, and the session rolls back or the outcome is unknown.
        """
        outcome = Outcome()
        try:
            await self._commit(epoch, list(items), outcome, replay=replay)
        except BaseException as error:
            self._memory.forget(item.conversation for item in items)
            # The next try does not wait for a lock that this one waited for in vain (R2a).
            self._skip_locked = isinstance(error, Repeat)
            raise
        self._skip_locked = bool(outcome.locked)
        return outcome

    async def _commit(self, epoch: int, items: list[Item], outcome: Outcome, *, replay: bool) -> None:
        try:
            try:
                await self._transaction(epoch, items, outcome, replay=replay)
            except Taken:
                self._metrics.repeats.counts["taken"] += 1
                self._memory.forget(item.conversation for item in items)
                await self._transaction(epoch, items, outcome, replay=True)
        except (Poisoned, Taken, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            # The latter are what an impossible event raises in the core. A failure of a store is none of these.
            self._memory.forget(item.conversation for item in items)
            await self._store.rollback()
            await self._halve(epoch, items, outcome, error, replay=replay)

    async def _halve(self, epoch: int, items: list[Item], outcome: Outcome, error: Exception, *, replay: bool) -> None:
        self._metrics.repeats.counts["poison"] += 1
        if len(items) > 1:
            middle = len(items) // 2
            await self._commit(epoch, items[:middle], outcome, replay=True)
            await self._commit(epoch, items[middle:], outcome, replay=True)
        elif replay:
            self._give_up(items[0], outcome, error)
        else:
            # Its id may be stored: then it is no poison but a retry.
            await self._commit(epoch, items, outcome, replay=True)

    def _give_up(self, item: Item, outcome: Outcome, error: Exception) -> None:
        event = item.event
        reason = f"{type(error).__name__}: {error}"
        log.error("dead_letter", partition=item.partition, conversation=item.conversation.hex(), reason=reason)
        self._metrics.dead.inc()
        data = orjson.dumps([*event.origin, *event[1:]], default=str)
        outcome.dead.append(DeadLetter(item.partition, item.entry, reason, data))
        client_id = event.client_id if isinstance(event, SendEvent) else None
        refused = Refused(event.origin, Code.INVALID_FRAME, event.peer, client_id, event.ref)
        outcome.plans.append(Plan(answers=[refused]))

    async def _transaction(self, epoch: int, items: list[Item], outcome: Outcome, *, replay: bool) -> None:
        # A partition that was left out stays out to the batch's end: its later events must not overtake (G4).
        items = [item for item in items if item.partition not in outcome.locked | outcome.lost]
        if not items:
            return
        began = monotonic()
        wanted, sought = self._missing(items, replay=replay)
        made = None
        if not wanted and not sought and not self._skip_locked and began - self._clock.read_at < CLOCK_S:
            made = await self._at_once(epoch, items, self._clock.now_ms(began))
        if made is None:
            made = await self._in_two(epoch, items, outcome, wanted, sought)
        self._memory.install(made.states.items())
        outcome.plans.append(made)
        self._metrics.commit_seconds.observe(monotonic() - began)
        self._count(made)

    async def _at_once(self, epoch: int, items: list[Item], now: int) -> Plan | None:
        """Commit in one round trip; gives None where there is nothing to write or not every partition may be written.

        The numbers come from memory, and the fence comes with the rows: memory is as it was at this owner's last
        COMMIT, and nobody else wrote since, or the fence fails.
        """
        made = plan([(item.conversation, item.event) for item in items], self._states(items, {}), now)
        if not made.writes:
            return None
        try:
            await self._store.commit_at_once(epoch, sorted({item.partition for item in items}), made)
        except Fenced:
            return None
        return made

    async def _in_two(
        self, epoch: int, items: list[Item], outcome: Outcome, wanted: list[Wanted], sought: list[Sought]
    ) -> Plan:
        """Commit in two round trips, between which what the plan needs is read."""
        fence = await self._begin(epoch, items, outcome, wanted, sought)
        items = [item for item in items if item.partition in fence.owned]
        states = self._states(items, fence.conversations)
        made = plan([(item.conversation, item.event) for item in items], states, fence.now)
        if made.writes:
            await self._store.commit(made, fence.now)
        else:
            await self._store.rollback()
        return made

    def _states(
        self, items: list[Item], stored: Mapping[ConversationId, Conversation]
    ) -> dict[ConversationId, Conversation]:
        states: dict[ConversationId, Conversation] = {}
        for _, _, conversation, event in items:
            if conversation not in states:
                states[conversation] = (
                    self._memory.get(conversation)
                    or stored.get(conversation)
                    or new_conversation(event.origin.user, event.peer)
                )
        return states

    async def _begin(
        self, epoch: int, items: list[Item], outcome: Outcome, wanted: list[Wanted], sought: list[Sought]
    ) -> Fence:
        partitions = sorted({item.partition for item in items})
        fence = await self._store.begin(epoch, partitions, wanted, sought, skip_locked=self._skip_locked)
        self._clock = Clock(fence.now, monotonic())
        if fence.lost:
            self._metrics.fenced.inc(len(fence.lost))
            outcome.lost |= fence.lost
        outcome.locked |= frozenset(partitions) - fence.owned - fence.lost
        return fence

    def _missing(self, items: list[Item], *, replay: bool) -> tuple[list[Wanted], list[Sought]]:
        """Name what the plan needs from MySQL. For a replay all of it: memory knows nothing of stored ids."""
        if replay:
            self._memory.forget(item.conversation for item in items)
        wanted: dict[ConversationId, Wanted] = {}
        sought: dict[Sought, None] = {}
        for conversation, event in ((item.conversation, item.event) for item in items):
            user, peer = event.origin.user, event.peer
            if self._memory.get(conversation) is None:
                wanted.setdefault(conversation, Wanted(conversation, min(user, peer)))
            if replay and isinstance(event, SendEvent):
                sought[Sought(conversation, user, event.client_id)] = None
        return list(wanted.values()), list(sought)

    def _count(self, made: Plan) -> None:
        self._metrics.messages.inc(len(made.messages))
        self._metrics.duplicates.inc(made.duplicates)
        for answer in made.answers:
            if type(answer) is Refused:
                self._metrics.refused.counts[answer.code.value] += 1
        for count, seconds in self._undelivered.acknowledged(made.states, monotonic()):
            self._metrics.delivery_seconds.observe(seconds, count)
