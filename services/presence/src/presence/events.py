"""Owns the presence stream: it reads the gateways' events in a group of all replicas, and has them handled.

| Key             | Type          | TTL | Written by | Read by |
|-----------------|---------------|-----|------------|---------|
| `chat:presence` | stream, group | -   | gateways; settled here | here |

Every event only asks for a look at the truth, or extends what is there: handling one twice, late or after another is
harmless. So an entry of a replica that died is simply handled by another.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import uniform
from time import monotonic
from typing import Any, Final

from chatcore.errors import CodecError, StoreUnavailable
from chatcore.full_redis import run_anyway
from chatcore.ids import UserId
from chatcore.keys import PRESENCE_GROUP, Keys
from chatcore.logs import get_logger
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.stream import (
    FIELD,
    Connected,
    Disconnected,
    Heartbeats,
    PresenceEvent,
    Subscribed,
    TypingSeen,
    Unsubscribed,
    decode_presence,
)

from presence.devices import Devices
from presence.metrics import EVENTS, PresenceMetrics
from presence.scripts import RETIRE

BLOCK_MS: Final = 1_000
"""How long one read waits; well below the deadline of every round trip."""
READ_COUNT: Final = 64
"""Entries of one read. An entry holds at most 500 events, so a read is at most about 0.2 s of work."""
STALE_MS: Final = 10_000
"""A heartbeat so old is followed by another one; typing so old is over."""
BEHIND_MS: Final = 8_000
"""Entries that wait so long to be read, or no read for so long: nobody knows who beats."""
ALIVE_S: Final = 5.0
"""Seconds since the last answered turn after which the replica is not ready."""
TIDY_S: Final = 5.0
"""Seconds between two looks for what dead replicas left."""
CLAIM_IDLE_MS: Final = 10_000
"""What a replica read and did not settle for so long is another's. Longer than any batch takes."""
CONSUMER_IDLE_MS: Final = 600_000
"""A replica's name that was silent so long, with nothing pending, is deleted from the group."""
NEW: Final = ">"
UNSETTLED: Final = "0"
"""Where XREADGROUP reads: what nobody has read, or what this replica read and did not settle."""

log = get_logger(__name__)
Entry = tuple[bytes, Any]
Dated = tuple[PresenceEvent, int]
"""An event, and when its entry was written, in ms of Redis's clock."""


class PresenceStream:
    """Reads and handles until stopped."""

    def __init__(
        self, connect: Connect, *, keys: Keys, consumer: str, devices: Devices, metrics: PresenceMetrics
    ) -> None:
        self._key = keys.presence
        self._consumer = consumer
        self._devices = devices
        self._metrics = metrics
        self._reader = connect(name=f"{consumer}-reader", connections=2)
        self._redis = connect(name=f"{consumer}-settler", connections=2)
        self._tidied_at = 0.0
        self._from = UNSETTLED
        self._stopping = False
        self._stopped = asyncio.Event()
        self._answered_at = float("-inf")
        self._lag_ms = 0

    @property
    def alive(self) -> bool:
        """Whether Redis answered lately."""
        return monotonic() - self._answered_at < ALIVE_S

    @property
    def behind(self) -> bool:
        """Whether heartbeats may wait unread: then nobody may be taken for gone."""
        return self._lag_ms > BEHIND_MS or (monotonic() - self._answered_at) * 1000 > BEHIND_MS

    async def run(self) -> None:
        """Work until `stop`; a failing Redis is waited out, and what was read is read again."""
        try:
            while not self._stopping:
                try:
                    await self._turn()
                    self._answered_at = monotonic()
                except StoreUnavailable as error:
                    # What a lost answer brought is pending under this replica's name, and never comes as new again.
                    self._from = UNSETTLED
                    log.warning("store_unavailable", error=str(error))
                    await asyncio.sleep(uniform(0.1, 0.5))  # noqa: S311 - jitter
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Finish what was read, and read no more. Others need not wait for this replica's name."""
        self._stopping = True
        await self._stopped.wait()
        with suppress(StoreUnavailable):
            await self._retire("-1", self._consumer)

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._reader)
        await close_redis(self._redis)

    async def _turn(self) -> None:
        try:
            if monotonic() - self._tidied_at > TIDY_S:
                self._tidied_at = monotonic()
                await self._tidy()
            await self._read()
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error).lower():
                raise
            await self._make_group()

    async def _read(self) -> None:
        command = ("XREADGROUP", "GROUP", PRESENCE_GROUP, self._consumer, "COUNT", READ_COUNT, "BLOCK", BLOCK_MS)
        work = self._reader.execute_command(*command, "STREAMS", self._key, self._from)  # type: ignore[no-untyped-call]  # redis-py's own gap
        answer: Any = await answered(work)
        entries: list[Entry] = [entry for _, found in answer or () for entry in found]
        if entries:
            await self._handle(entries, fresh=self._from == NEW)
        elif self._from == UNSETTLED:
            self._from = NEW
        else:
            self._note_lag(0)

    async def _make_group(self) -> None:
        try:
            await answered(run_anyway(self._redis, ("XGROUP", "CREATE", self._key, PRESENCE_GROUP, "0", "MKSTREAM")))
        except StoreUnavailable as error:
            if "BUSYGROUP" not in str(error):  # another replica was first
                raise

    async def _tidy(self) -> None:
        """Handle what a dead replica read and did not settle; delete the names of replicas long gone."""
        claimed: Any = await answered(
            self._redis.xautoclaim(
                self._key, PRESENCE_GROUP, self._consumer, min_idle_time=CLAIM_IDLE_MS, count=READ_COUNT
            )
        )
        if claimed[1]:
            await self._handle(claimed[1], fresh=False)
        await self._retire(str(CONSUMER_IDLE_MS), "")

    async def _retire(self, idle_ms: str, name: str) -> None:
        await answered(self._redis.eval(RETIRE, 1, self._key, PRESENCE_GROUP, idle_ms, name))

    def _note_lag(self, lag_ms: int) -> None:
        self._lag_ms = lag_ms
        self._metrics.lag.set(lag_ms / 1000)

    async def _handle(self, entries: Sequence[Entry], *, fresh: bool) -> None:
        """Handle and settle entries. What a replica left, and is not fresh, tells nothing of how far the group is."""
        began = monotonic()
        now = await self._devices.now()
        if fresh:
            self._note_lag(max(0, now - _written_ms(entries[-1][0])))
        await self._apply(self._events(entries, now), now)
        pipeline = self._redis.pipeline(transaction=False)
        ids = [entry_id for entry_id, _ in entries]
        pipeline.xack(self._key, PRESENCE_GROUP, *ids)
        pipeline.xdel(self._key, *ids)
        await answered(pipeline.execute())
        self._metrics.batch_seconds.observe(monotonic() - began)

    def _events(self, entries: Sequence[Entry], now: int) -> list[Dated]:
        events: list[Dated] = []
        for entry_id, fields in entries:
            if not fields:  # the stream's bound trimmed it after it was read
                self._metrics.stale.inc()
                continue
            written_ms = _written_ms(entry_id)
            try:
                found = decode_presence(fields.get(FIELD, b""))
            except CodecError as error:
                self._metrics.unreadable.inc()
                log.warning("entry_unreadable", error=str(error))
                continue
            for event in found:
                self._metrics.events.counts[EVENTS[type(event)]] += 1
                if isinstance(event, Heartbeats | TypingSeen) and now - written_ms > STALE_MS:
                    self._metrics.stale.inc()
                else:
                    events.append((event, written_ms))
        return events

    async def _apply(self, events: Sequence[Dated], now: int) -> None:
        """Apply a read's events by kind: none depends on the order of another kind's, since each looks at the truth.

        But for a subscription and its end: the later one counts, so they go in their order.
        """
        beats: dict[int, list[tuple[UserId, str]]] = {}
        for event, _ in events:
            if isinstance(event, Heartbeats):
                beats.setdefault(max(0, event.silent_ms), []).extend(event.members)
        for silent_ms, members in beats.items():
            await self._devices.extend(members, now - silent_ms)
        users = [event.user for event, _ in events if isinstance(event, Connected | Disconnected)]
        if users:
            await self._devices.look(users, "connection")
        for run in _runs(events):
            if isinstance(run[0][0], Subscribed):
                await self._devices.subscribe([(e, ms) for e, ms in run if isinstance(e, Subscribed)])
            else:
                await self._devices.unsubscribe([(e, ms) for e, ms in run if isinstance(e, Unsubscribed)])
        typing = [event for event, _ in events if isinstance(event, TypingSeen)]
        if typing:
            await self._devices.tell_typing(typing)


def _written_ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _runs(events: Sequence[Dated]) -> list[list[Dated]]:
    """Group neighbouring subscriptions, and neighbouring ends of them."""
    runs: list[list[Dated]] = []
    for event, written_ms in events:
        if not isinstance(event, Subscribed | Unsubscribed):
            continue
        if runs and type(runs[-1][0][0]) is type(event):
            runs[-1].append((event, written_ms))
        else:
            runs.append([(event, written_ms)])
    return runs
