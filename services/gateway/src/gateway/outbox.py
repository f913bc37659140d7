"""Owns the one way from this gateway into Redis: all that arrived in one turn as one pipeline, one in flight (R9).

| Key                   | Type   | TTL | Written by | Read by |
|-----------------------|--------|-----|------------|---------|
| `chat:in:{p}`         | stream | -   | here       | the partition's owner |
| `chat:sync`           | stream | -   | here       | workers |
| `chat:presence`       | stream | -   | here       | presence |

It never repeats a send: one whose XADD failed or was not answered is told `unavailable`, and its client sends it again.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from random import uniform
from time import monotonic, time
from typing import Any, Final

from chatcore.errors import StoreUnavailable
from chatcore.full_redis import run_anyway
from chatcore.keys import Keys
from chatcore.logs import get_logger
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.stream import (
    FIELD,
    Heartbeats,
    PresenceEvent,
    Request,
    SyncRequest,
    TypingSeen,
    ack_item,
    encode_entry,
    encode_presence,
    encode_requests,
)
from redis.exceptions import OutOfMemoryError

from gateway.members import Change, Members
from gateway.metrics import GatewayMetrics
from gateway.turn import SEND, Entry, Turn, place

EVENTS: Final = 500
"""In one entry of `chat:presence`."""
REQUESTS: Final = 8
"""In one entry of `chat:sync`: one session of one worker answers those of an entry together."""
SYNC_MAXLEN: Final = 50_000
PRESENCE_MAXLEN: Final = 100_000
FULL_MAXLEN: Final = 1_000
"""Entries of `chat:presence` from which on a full Redis is not asked to take heartbeats: nobody reads them."""

log = get_logger(__name__)


class Outbox:
    """Gathers and forwards."""

    def __init__(
        self,
        connect: Connect,
        *,
        keys: Keys,
        gateway: str,
        ttl_ms: int,
        metrics: GatewayMetrics,
        unavailable: Callable[[int, str], None],
        unasked: Callable[[int, str | None], None],
    ) -> None:
        self._redis = connect(name=f"{gateway}-outbox", connections=2)
        self._keys, self._gateway, self._metrics = keys, gateway, metrics
        self._unavailable, self._unasked = unavailable, unasked
        self._members = self.make_members(keys, ttl_ms)
        self._turn = Turn()
        self._began = monotonic()
        """When the first frame of this turn came."""
        self._held = Turn()
        """Acknowledgements that wait until their partition's stream has room."""
        self._overfull: frozenset[int] = frozenset()
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.partitions = 0
        """0 until `chat:meta` was read; nobody is let in before."""

    def make_members(self, keys: Keys, ttl_ms: int) -> Members:
        """Make the queue of changes to this gateway's members."""
        return Members(keys=keys, ttl_ms=ttl_ms, left=self.tell)

    @property
    def ack_backlog(self) -> int:
        """Acknowledgements that wait for Redis."""
        return sum(len(turn.acks) + len(turn.below) for turn in (self._turn, self._held))

    def send(self, user: str, peer: str, item: Any, size_bytes: int) -> bool:
        """Take a send; False when too many wait, here or in its stream. A failure is told to `unavailable`."""
        partition = place(user, peer, self.partitions)
        if partition in self._overfull or not self._turn.send(partition, item, size_bytes):
            return False
        self._wake()
        return True

    def ack(
        self, connection: int, user: str, device: str, peer: str, delivered: int, read: int, ref: str | None
    ) -> None:
        """Keep an acknowledgement until its XADD was answered, coalesced with others of its kind (R5, `Turn.ack`)."""
        self._keep(ack_item(connection, user, device, peer, delivered, read, ref))

    def limit(self, overfull: frozenset[int]) -> None:
        """Name the partitions whose stream is past its bound: sends are refused, acknowledgements wait."""
        released = bool(self._held.acks) and overfull != self._overfull
        self._overfull = overfull
        self._metrics.overfull.set(len(overfull))
        if released:
            held, self._held = self._held, Turn()
            for item in held.acknowledgements():
                self._keep(item)

    def request(self, request: Request) -> bool:
        """Ask a worker; False when too many requests wait."""
        taken = self._turn.request(request)
        self._wake()
        return taken

    def tell(self, event: PresenceEvent) -> bool:
        """Tell presence; False when too many events wait."""
        taken = self._turn.tell(event)
        self._wake()
        return taken

    def enter(self, user: str, draft: str, entered_ms: int = 0) -> "asyncio.Future[int]":
        """Enter a connection as a member; gives its time. Fails with `StoreUnavailable`. Safe to cancel."""
        entered = self._members.enter(user, draft, entered_ms)
        self._wake()
        return entered

    def leave(self, user: str, member: str) -> None:
        """Remove a member, in order with what was entered before, repeated until Redis answered; then tell presence."""
        self._members.leave(user, member)
        self._wake()

    async def run(self) -> None:
        """Forward until cancelled."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if failed := await self._forward_turn():
                self._metrics.pipelines_failed.inc()
                log.warning("pipeline_failed", error=failed)
                await asyncio.sleep(uniform(0.05, 0.2))  # noqa: S311 - jitter
            if self._members:
                self._wake()
            if not self._ready.is_set():
                self._idle.set()

    async def flushed(self) -> None:
        """Wait until everything that was taken is forwarded. Safe to cancel."""
        await self._idle.wait()

    async def close(self) -> None:
        """Close the connection."""
        await close_redis(self._redis)

    def _wake(self) -> None:
        self._idle.clear()
        if not self._ready.is_set():
            self._began = monotonic()
            self._ready.set()

    def _keep(self, item: Any, *, late: bool = False) -> None:
        if not self._turn.ack(item, late=late):
            self._metrics.acks_dropped.inc()
        self._wake()

    async def _forward_turn(self) -> str:
        """Send what there is as one pipeline; gives what failed."""
        turn, self._turn = self._turn, Turn()
        pipeline = self._redis.pipeline(transaction=False)
        changes = self._members.take(pipeline)
        try:
            return await self._forward(turn, changes, pipeline)
        except StoreUnavailable as error:
            self._members.give_back(changes)
            self._give_back(turn)
            return str(error)

    async def _forward(self, turn: Turn, changes: list[Change], pipeline: Any) -> str:
        """Give what a command that failed alone said; raises when nothing is known."""
        began = self._began
        entries, held = turn.entries(self.partitions, self._overfull)
        came_ms = int((time() - (monotonic() - began)) * 1000)
        for partition, items in entries:
            data = encode_entry(self._gateway, came_ms, items)
            pipeline.execute_command("XADD", self._keys.inbox(partition), "*", FIELD, data)
        self._add_soft(pipeline, turn)
        answers: list[Any] = []
        if count := len(pipeline.command_stack):
            left = monotonic()
            answers = await answered(pipeline.execute(raise_on_error=False))
            self._metrics.forwarded(count, turn.count, left_s=monotonic() - left, came_s=monotonic() - began)
        for item in held:
            self._held.ack(item)
        of_each = iter(answers)
        self._members.settle(changes, list(islice(of_each, len(changes))))
        self._settle_entries(entries, list(islice(of_each, len(entries))))
        self._settle_requests(turn.requests, of_each)
        if refused := self._settle_events(turn.events, of_each):
            await self._beat_anyway(refused)
        return next((str(answer) for answer in answers if isinstance(answer, Exception)), "")

    def _add_soft(self, pipeline: Any, turn: Turn) -> None:
        for at in range(0, len(turn.requests), REQUESTS):
            data = encode_requests(turn.requests[at : at + REQUESTS])
            pipeline.execute_command("XADD", self._keys.sync, "MAXLEN", "~", SYNC_MAXLEN, "*", FIELD, data)
        for at in range(0, len(turn.events), EVENTS):
            data = encode_presence(turn.events[at : at + EVENTS])
            pipeline.execute_command("XADD", self._keys.presence, "MAXLEN", "~", PRESENCE_MAXLEN, "*", FIELD, data)

    def _settle_entries(self, entries: list[Entry], answers: list[Any]) -> None:
        for (_, items), answer in zip(entries, answers, strict=False):
            if isinstance(answer, Exception):
                self._refuse(items)

    def _settle_requests(self, requests: list[Request], answers: Iterator[Any]) -> None:
        # The range first: zip takes no answer once it is at its end.
        for at, answer in zip(range(0, len(requests), REQUESTS), answers, strict=False):
            if isinstance(answer, Exception):
                self._refuse_requests(requests[at : at + REQUESTS])

    def _settle_events(self, events: list[PresenceEvent], answers: Iterator[Any]) -> list[PresenceEvent]:
        """Give the heartbeats that a full Redis refused."""
        refused: list[PresenceEvent] = []
        for at, answer in zip(range(0, len(events), EVENTS), answers, strict=False):
            if isinstance(answer, Exception):
                self._tell_again(events[at : at + EVENTS])
            if isinstance(answer, OutOfMemoryError):
                refused += [event for event in events[at : at + EVENTS] if isinstance(event, Heartbeats)]
        return refused

    async def _beat_anyway(self, beats: list[PresenceEvent]) -> None:
        """Have a full Redis take heartbeats (R5b), or presence would take those for gone who are here.

        They are of connections that were let in before, and few wait: presence settles them in a full Redis as well.
        """
        with suppress(StoreUnavailable):  # as lost as any beat in a failed pipeline
            if await answered(self._redis.xlen(self._keys.presence)) < FULL_MAXLEN:
                entry = ("XADD", self._keys.presence, "*", FIELD, encode_presence(beats))
                await answered(run_anyway(self._redis, entry))

    def _refuse_requests(self, requests: Iterable[Request]) -> None:
        """Say that nobody was asked, but for syncs: those are asked again by their time-outs."""
        for request in requests:
            if not isinstance(request, SyncRequest):
                self._unasked(request.connection, request.ref)

    def _refuse(self, items: list[Any]) -> None:
        """Nobody knows whether these were taken: sends are sent again by clients, acknowledgements by us."""
        for item in items:
            if item[0] == SEND:
                self._unavailable(item[1], item[5])
            else:
                self._keep(item, late=True)

    def _give_back(self, turn: Turn) -> None:
        """Nothing was answered: refuse the sends, keep the acknowledgements and the events."""
        self._refuse([*turn.refused(), *turn.acknowledgements()])
        self._refuse_requests(turn.requests)
        self._tell_again(turn.events)

    def _tell_again(self, events: Iterable[PresenceEvent]) -> None:
        """Heartbeats and typing are stale by the time that Redis is back, and heartbeats are large."""
        for event in events:
            if isinstance(event, TypingSeen):
                self._metrics.typing_dropped.counts["stale"] += 1
            elif not isinstance(event, Heartbeats):
                self.tell(event)
