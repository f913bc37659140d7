"""Owns the presence stream: it reads the gateways' events in a group of all replicas, and has them handled.

| Key             | Type          | TTL | Written by | Read by |
|-----------------|---------------|-----|------------|---------|
| `chat:presence` | stream, group | -   | gateways; settled here | here |

Every event only asks for a look at the truth, or extends what is there: handling one twice, late or after another is
harmless. So an entry of a replica that died is simply handled by another.
"""

import asyncio
from collections.abc import Sequence
from random import uniform
from time import monotonic
from typing import Any, Final

from chatcore.errors import CodecError, StoreUnavailable
from chatcore.keys import PRESENCE_GROUP, Keys
from chatcore.logs import get_logger
from chatcore.redis_client import answered, close_redis, make_redis
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
from presence.metrics import PresenceMetrics

BLOCK_MS: Final = 1_000
READ_COUNT: Final = 64
STALE_MS: Final = 10_000
"""A heartbeat so old is followed by another one; typing so old is over."""
TIDY_S: Final = 5.0
CLAIM_IDLE_MS: Final = 10_000
CONSUMER_IDLE_MS: Final = 600_000
"""A replica's name that was silent so long, with nothing pending, is deleted from the group."""

log = get_logger(__name__)
Entry = tuple[bytes, Any]


class PresenceStream:
    """Reads and handles until stopped."""

    def __init__(self, url: str, *, keys: Keys, consumer: str, devices: Devices, metrics: PresenceMetrics) -> None:
        self._key = keys.presence
        self._consumer = consumer
        self._devices = devices
        self._metrics = metrics
        self._reader = make_redis(url, name=f"{consumer}-reader", connections=2)
        self._redis = make_redis(url, name=f"{consumer}-settler", connections=2)
        self._tidied_at = 0.0
        self._stopping = False
        self._stopped = asyncio.Event()
        self._answered_at = monotonic()
        self.lag_ms = 0
        """Age of the entry that was read last; 0 when nothing waits."""

    @property
    def alive(self) -> bool:
        """Whether Redis answered lately."""
        return monotonic() - self._answered_at < 5.0

    async def run(self) -> None:
        """Work until `stop`; a failing Redis is waited out, and what was read is read again."""
        try:
            while not self._stopping:
                try:
                    await self._turn()
                    self._answered_at = monotonic()
                except StoreUnavailable as error:
                    log.warning("store_unavailable", error=str(error))
                    await asyncio.sleep(uniform(0.1, 0.5))  # noqa: S311 - jitter
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Finish what was read, and read no more."""
        self._stopping = True
        await self._stopped.wait()

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._reader)
        await close_redis(self._redis)

    async def _turn(self) -> None:
        if monotonic() - self._tidied_at > TIDY_S:
            self._tidied_at = monotonic()
            await self._tidy()
        command = ("XREADGROUP", "GROUP", PRESENCE_GROUP, self._consumer, "COUNT", READ_COUNT, "BLOCK", BLOCK_MS)
        try:
            work = self._reader.execute_command(*command, "STREAMS", self._key, ">")  # type: ignore[no-untyped-call]  # redis-py's own gap
            answer: Any = await answered(work)
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group()
            return
        for _, entries in answer or ():
            await self._handle([(entry_id, dict(fields or {})) for entry_id, fields in entries])
        if not answer:
            self.lag_ms = 0
            self._metrics.lag.set(0)

    async def _make_group(self) -> None:
        try:
            await answered(self._redis.xgroup_create(self._key, PRESENCE_GROUP, id="0", mkstream=True))
        except StoreUnavailable as error:
            if "BUSYGROUP" not in str(error):  # another replica was first
                raise

    async def _tidy(self) -> None:
        """Handle what a dead replica read and did not settle; delete the names of replicas long gone."""
        try:
            claimed: Any = await answered(
                self._redis.xautoclaim(
                    self._key, PRESENCE_GROUP, self._consumer, min_idle_time=CLAIM_IDLE_MS, count=READ_COUNT
                )
            )
            consumers: Any = await answered(self._redis.xinfo_consumers(self._key, PRESENCE_GROUP))
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error).lower():
                raise
            await self._make_group()
            return
        entries = [(entry_id, fields) for entry_id, fields in claimed[1] if fields]
        if entries:
            await self._handle(entries)
        for consumer in consumers:
            if consumer["idle"] > CONSUMER_IDLE_MS and not consumer["pending"]:
                await answered(self._redis.xgroup_delconsumer(self._key, PRESENCE_GROUP, consumer["name"]))

    async def _handle(self, entries: Sequence[Entry]) -> None:
        began = monotonic()
        now = await self._devices.now()
        self.lag_ms = max(0, now - int(entries[-1][0].partition(b"-")[0]))
        self._metrics.lag.set(self.lag_ms / 1000)
        await self._apply(self._events(entries, now), now)
        pipeline = self._redis.pipeline(transaction=False)
        ids = [entry_id for entry_id, _ in entries]
        pipeline.xack(self._key, PRESENCE_GROUP, *ids)
        pipeline.xdel(self._key, *ids)
        await answered(pipeline.execute())
        self._metrics.batch_seconds.observe(monotonic() - began)

    def _events(self, entries: Sequence[Entry], now: int) -> list[PresenceEvent]:
        events: list[PresenceEvent] = []
        for entry_id, fields in entries:
            stale = now - int(entry_id.partition(b"-")[0]) > STALE_MS
            try:
                found = decode_presence(fields.get(FIELD, b""))
            except CodecError as error:
                self._metrics.unreadable.inc()
                log.warning("entry_unreadable", error=str(error))
                continue
            for event in found:
                self._metrics.events.labels(type(event).__name__).inc()
                if stale and isinstance(event, Heartbeats | TypingSeen):
                    self._metrics.stale.inc()
                else:
                    events.append(event)
        return events

    async def _apply(self, events: Sequence[PresenceEvent], now: int) -> None:
        """Apply a read's events by kind: none depends on the order of another kind's, since each looks at the truth.

        But for a subscription and its end: the later one counts, so they go in their order.
        """
        beats = [(user, member) for event in events if isinstance(event, Heartbeats) for user, member in event.members]
        if beats:
            await self._devices.extend(beats, now)
        users = [event.user for event in events if isinstance(event, Connected | Disconnected)]
        if users:
            await self._devices.look(users, "connection")
        for event in _runs(events):
            if isinstance(event[0], Subscribed):
                await self._devices.subscribe([e for e in event if isinstance(e, Subscribed)])
            else:
                await self._devices.unsubscribe([e for e in event if isinstance(e, Unsubscribed)])
        typing = [event for event in events if isinstance(event, TypingSeen)]
        if typing:
            await self._devices.tell_typing(typing)


def _runs(events: Sequence[PresenceEvent]) -> list[list[PresenceEvent]]:
    """Group neighbouring subscriptions, and neighbouring ends of them."""
    runs: list[list[PresenceEvent]] = []
    for event in events:
        if not isinstance(event, Subscribed | Unsubscribed):
            continue
        if runs and type(runs[-1][0]) is type(event):
            runs[-1].append(event)
        else:
            runs.append([event])
    return runs
