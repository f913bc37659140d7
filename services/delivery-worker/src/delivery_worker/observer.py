"""Owns the looks at Redis that serve the metrics alone: backlogs, the clock, and who of the late recipients is gone.

It must never hold up the worker's loop: a task and a client of its own.

| Key                   | Type   | TTL | Written by | Read by |
|-----------------------|--------|-----|------------|---------|
| `chat:in:{p}`         | stream | -   | gateways   | here: its length |
| `chat:sync`           | stream | -   | gateways   | here: its length |
| `chat:devices:{user}` | zset   | -   | gateways, presence | here: has the user a live connection? |
"""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from chatcore.errors import StoreUnavailable
from chatcore.keys import Keys
from chatcore.logs import get_logger
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.redis_clock import RedisClock

from delivery_worker.metrics import WorkerMetrics
from delivery_worker.undelivered import SILENT_S, Undelivered

LOOK_S: Final = 2.0
ASK_S: Final = 2.0
"""A recipient that owes an acknowledgement for so long is looked up: it may have gone."""
MOST: Final = 1_000
"""The oldest that are looked up at once: some 10 ms of work, in the worst of times."""
LATE_S: Final = 10.0
"""Seconds without an acknowledgement that count as late."""

log = get_logger(__name__)


class Observer:
    """Looks every other second."""

    def __init__(
        self,
        connect: Connect,
        *,
        keys: Keys,
        worker: str,
        clock: RedisClock,
        undelivered: Undelivered,
        metrics: WorkerMetrics,
        owned: Callable[[], frozenset[int]],
    ) -> None:
        self._redis = connect(name=f"{worker}-observer", connections=2)
        self._keys, self._clock, self._undelivered = keys, clock, undelivered
        self._metrics, self._owned = metrics, owned
        self._backlog: dict[int, int] = {}
        metrics.backlog.read = self._read_backlog
        metrics.undelivered.set_function(lambda: len(undelivered))
        metrics.undelivered_age.set_function(lambda: undelivered.oldest_s(monotonic()))

    async def run(self) -> None:
        """Look until cancelled. While Redis does not answer, the last look stands."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("look_failed", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once. Raises `StoreUnavailable`."""
        await self._clock.read(self._redis)
        await self._look_at_streams()
        await self._look_at_the_late()

    async def close(self) -> None:
        """Close the connection."""
        await close_redis(self._redis)

    async def _look_at_streams(self) -> None:
        partitions = sorted(self._owned())
        pipeline = self._redis.pipeline(transaction=False)
        for partition in partitions:
            pipeline.xlen(self._keys.inbox(partition))
        pipeline.xlen(self._keys.sync)
        *lengths, requests = await answered(pipeline.execute())
        self._backlog = dict(zip(partitions, lengths, strict=True))
        self._metrics.requests_backlog.set(requests)

    async def _look_at_the_late(self) -> None:
        """Wait no longer for who has no live connection, or is connected and says nothing for too long."""
        late = self._undelivered.older_than(ASK_S, monotonic(), MOST)
        if not late:
            self._metrics.undelivered_late.set(0)
            return
        pipeline: Any = self._redis.pipeline(transaction=False)
        for _, user, _ in late:
            pipeline.zrange(self._keys.devices(user), int(self._clock.now_ms()), "+inf", byscore=True)
        ends, still = self._metrics.undelivered_ends.counts, 0
        for (conversation, user, age_s), live in zip(late, await answered(pipeline.execute()), strict=True):
            if live and age_s < SILENT_S:
                still += age_s >= LATE_S
            else:
                ends["silent" if live else "offline"] += 1
                self._undelivered.forget(conversation, user)
        self._metrics.undelivered_late.set(still)

    def _read_backlog(self) -> Mapping[str, float]:
        owned = self._owned()
        return {str(partition): length for partition, length in self._backlog.items() if partition in owned}
