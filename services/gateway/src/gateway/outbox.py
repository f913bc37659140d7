"""Owns the one way from this gateway into Redis: all that arrived in one turn as one pipeline, one in flight (R9).

| Key                   | Type   | TTL | Written by | Read by |
|-----------------------|--------|-----|------------|---------|
| `chat:in:{p}`         | stream | -   | here       | the partition's owner |
| `chat:sync`           | stream | -   | here       | workers |
| `chat:presence`       | stream | -   | here       | presence |
| `chat:devices:{user}` | zset   | -   | here: own members | all |

It never repeats a send: one whose XADD failed or was not answered is told `unavailable`, and its client sends it again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from random import uniform
from time import monotonic, time
from typing import Any, Final

from chatcore.errors import StoreUnavailable
from chatcore.ids import conversation_id, partition_of
from chatcore.keys import Keys
from chatcore.logs import get_logger
from chatcore.redis_client import answered, close_redis, make_redis
from chatcore.stream import (
    FIELD,
    MAX_ENTRY_BYTES,
    PresenceEvent,
    Request,
    ack_item,
    encode_entry,
    encode_presence,
    encode_requests,
)

from gateway.metrics import GatewayMetrics

MAX_SENDS: Final = 20_000
"""Sends that wait for the pipeline before; past it they get `overloaded`."""
MAX_SEND_BYTES: Final = 64 * 1024 * 1024
"""Their bytes; the same."""
MAX_ACKS: Final = 200_000
"""Acknowledgements, one per user, device and peer, that wait for Redis; past it the oldest goes: its client repeats it
after its next sync (PROTOCOL section 6)."""
MAX_EVENTS: Final = 20_000
"""Presence events and requests that wait; past it the oldest goes. Both are soft: repeated by beats and time-outs."""
PACKED: Final = 500
"""Events or requests of one entry, and members entered by one pipeline."""
SYNC_MAXLEN: Final = 50_000
PRESENCE_MAXLEN: Final = 100_000

ENTER: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entered = ARGV[2] ~= '0' and ARGV[2] or string.format('%.0f', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1] .. '|' .. entered)
return entered
"""
"""Enter a member at Redis's own time; gives when it was entered first."""

log = get_logger(__name__)
AckKey = tuple[str, str, str]


@dataclass(slots=True)
class Turn:
    """What arrived since the pipeline before."""

    sends: dict[int, list[tuple[int, Any]]] = field(default_factory=dict)
    """By partition: size and item, in the order of arrival."""
    acks: dict[AckKey, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    events: list[PresenceEvent] = field(default_factory=list)
    members: list[tuple[str, str, int, "asyncio.Future[int] | None"]] = field(default_factory=list)
    """User, member without (to enter) or with (to remove) its time, that time or 0, who waits; in order."""


class Outbox:
    """Gathers, packs and forwards."""

    def __init__(
        self,
        url: str,
        *,
        keys: Keys,
        gateway: str,
        ttl_ms: int,
        metrics: GatewayMetrics,
        unavailable: Callable[[int, str], None],
    ) -> None:
        self._redis = make_redis(url, name=f"{gateway}-outbox", connections=2)
        self._keys, self._gateway, self._ttl_ms, self._metrics = keys, gateway, ttl_ms, metrics
        self._unavailable = unavailable
        self._turn = Turn()
        self._sends = self._bytes = 0
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.partitions = 0
        """0 until `chat:meta` was read; nobody is let in before."""
        self.overfull: frozenset[int] = frozenset()
        """Partitions whose stream is past its bound: sends to them are refused, acknowledgements pass."""

    def send(self, user: str, peer: str, item: Any, size: int) -> bool:
        """Take a send; False when too many wait. A failure is told to `unavailable`."""
        if self._sends >= MAX_SENDS or self._bytes + size > MAX_SEND_BYTES:
            return False
        partition = _partition(user, peer, self.partitions)
        if partition in self.overfull:
            return False
        self._turn.sends.setdefault(partition, []).append((size, item))
        self._sends += 1
        self._bytes += size
        self._wake()
        return True

    def ack(
        self, connection: int, user: str, device: str, peer: str, delivered: int, read: int, ref: str | None
    ) -> None:
        """Keep the newest acknowledgement of a device and peer until its XADD was answered (R5)."""
        key, acks = (user, device, peer), self._turn.acks
        old = acks.get(key)
        if old is not None:
            delivered, read = max(old[5], delivered), max(old[6], read)
        elif len(acks) >= MAX_ACKS:
            del acks[next(iter(acks))]
            self._metrics.acks_dropped.inc()
        acks[key] = ack_item(connection, user, device, peer, delivered, read, ref)
        self._wake()

    def request(self, request: Request) -> None:
        """Ask a worker."""
        _bounded(self._turn.requests, request)
        self._wake()

    def tell(self, event: PresenceEvent) -> None:
        """Tell presence."""
        _bounded(self._turn.events, event)
        self._wake()

    def enter(self, user: str, member: str, entered_ms: int = 0) -> "asyncio.Future[int]":
        """Enter a connection as a member; gives its time. Fails with `StoreUnavailable`. Cancelling leaves it open."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._turn.members.append((user, member, entered_ms, future))
        self._wake()
        return future

    def leave(self, user: str, member: str) -> None:
        """Remove a member, in order with what was entered before; repeated until Redis answered."""
        self._turn.members.append((user, member, -1, None))
        self._wake()

    async def run(self) -> None:
        """Forward until cancelled."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            turn, self._turn = self._turn, Turn()
            self._sends = self._bytes = 0
            try:
                failed = await self._forward(turn)
            except StoreUnavailable as error:
                failed = str(error)
                self._give_back(turn)
            if failed:
                self._metrics.pipelines_failed.inc()
                log.warning("pipeline_failed", error=failed)
                await asyncio.sleep(uniform(0.05, 0.2))  # noqa: S311 - jitter
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
        self._ready.set()

    @property
    def ack_backlog(self) -> int:
        """Acknowledgements that wait for Redis."""
        return len(self._turn.acks)

    async def _forward(self, turn: Turn) -> str:
        """Send a turn as one pipeline. Gives what a command that failed alone said; raises when nothing is known."""
        pipeline = self._redis.pipeline(transaction=False)
        now_ms = int(time() * 1000)
        for user, member, entered_ms, _ in turn.members:
            if entered_ms < 0:
                pipeline.zrem(self._keys.devices(user), member)
            else:
                pipeline.eval(ENTER, 1, self._keys.devices(user), member, entered_ms, self._ttl_ms)
        entries = self._entries(turn)
        for partition, items in entries:
            pipeline.execute_command(
                "XADD", self._keys.inbox(partition), "*", FIELD, encode_entry(self._gateway, now_ms, items)
            )
        self._add_soft(pipeline, turn)
        count = len(pipeline.command_stack)
        if not count:
            return ""
        began = monotonic()
        answers = await answered(pipeline.execute(raise_on_error=False))
        self._metrics.pipeline_commands.observe(count)
        self._metrics.pipeline_seconds.observe(monotonic() - began)
        self._settle(turn, entries, answers)
        return next((str(answer) for answer in answers if isinstance(answer, Exception)), "")

    def _entries(self, turn: Turn) -> list[tuple[int, list[Any]]]:
        if self.partitions:
            for key, item in turn.acks.items():
                partition = _partition(key[0], key[2], self.partitions)
                turn.sends.setdefault(partition, []).append((200, item))
        entries: list[tuple[int, list[Any]]] = []
        for partition, sized in turn.sends.items():
            items: list[Any] = []
            room = MAX_ENTRY_BYTES
            for size, item in sized:
                if items and size > room:
                    entries.append((partition, items))
                    items, room = [], MAX_ENTRY_BYTES
                items.append(item)
                room -= size
            entries.append((partition, items))
        return entries

    def _add_soft(self, pipeline: Any, turn: Turn) -> None:
        for at in range(0, len(turn.requests), PACKED):
            data = encode_requests(turn.requests[at : at + PACKED])
            pipeline.execute_command("XADD", self._keys.sync, "MAXLEN", "~", SYNC_MAXLEN, "*", FIELD, data)
        for at in range(0, len(turn.events), PACKED):
            data = encode_presence(turn.events[at : at + PACKED])
            pipeline.execute_command("XADD", self._keys.presence, "MAXLEN", "~", PRESENCE_MAXLEN, "*", FIELD, data)

    def _settle(self, turn: Turn, entries: list[tuple[int, list[Any]]], answers: list[Any]) -> None:
        """Tell each what came of it; a command may fail alone (a full Redis: OOM)."""
        for (user, member, _, future), answer in zip(turn.members, answers, strict=False):
            if isinstance(answer, Exception):
                if future is None:
                    self.leave(user, member)
                elif not future.done():
                    future.set_exception(StoreUnavailable(str(answer)))
            elif future is not None:
                if future.done():
                    # Who waited is gone: it was entered for nobody.
                    self.leave(user, f"{member}|{int(answer)}")
                else:
                    future.set_result(int(answer))
        first = len(turn.members)
        for (_, items), answer in zip(entries, answers[first : first + len(entries)], strict=True):
            if isinstance(answer, Exception):
                self._fail(items)

    def _fail(self, items: list[Any]) -> None:
        for item in items:
            if item[0] == 0:
                self._unavailable(item[1], item[5])
            else:
                self._keep(item)

    def _keep(self, item: Any) -> None:
        self.ack(item[1], item[2], item[3], item[4], item[5], item[6], item[7])

    def _give_back(self, turn: Turn) -> None:
        """Nothing was answered: refuse the sends, keep the acknowledgements, the removals and the soft rest."""
        for sized in turn.sends.values():
            for _, item in sized:
                if item[0] == 0:
                    self._unavailable(item[1], item[5])
        for item in turn.acks.values():
            self._keep(item)
        for user, member, _, future in turn.members:
            if future is None:
                self._turn.members.append((user, member, -1, None))
            elif not future.done():
                future.set_exception(StoreUnavailable("Redis did not answer"))
        self._turn.events[:0] = turn.events[-MAX_EVENTS:]
        if turn.acks or turn.events or self._turn.members:
            self._wake()


@lru_cache(maxsize=100_000)
def _partition(user: str, peer: str, partitions: int) -> int:
    return partition_of(conversation_id(user, peer), partitions)


def _bounded(queue: list[Any], item: Any) -> None:
    if len(queue) >= MAX_EVENTS:
        del queue[0]
    queue.append(item)
