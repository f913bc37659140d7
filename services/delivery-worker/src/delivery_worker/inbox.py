"""Owns the worker's side of the partitions' streams, and its beat.

| Key           | Type                    | TTL | Written by | Read by |
|---------------|-------------------------|-----|------------|---------|
| `chat:in:{p}` | stream, group per epoch | -   | gateways; settled by `router` | here |
| `chat:workers`| zset, score = deadline  | -   | here | here |
| `chat:meta`   | hash                    | -   | here | gateways |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from chatcore.full_redis import ALLOW_FULL, run_anyway
from chatcore.keys import Keys, epoch_of, group_of
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.stream import FIELD
from redis.asyncio import Redis

BLOCK_MS: Final = 250
"""How long a read waits for the first entry: a quarter of a beat, so that the loop beats in time."""
DEAD_MS: Final = 4_000
"""A worker without a beat for so long is dead to the others (R1d)."""
BEAT: Final = (
    ALLOW_FULL
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
redis.call('HSET', KEYS[2], 'partitions', ARGV[3], 'epoch', ARGV[4])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
)
"""KEYS: workers, meta (one node in a cluster only by a common hash tag). All times are Redis's own (R1d).

In a full Redis too (R5b): a worker that must not beat settles nothing, and Redis would stay full."""


class StreamEntry(NamedTuple):
    """One entry as it was read."""

    partition: int
    id: bytes
    data: bytes

    @property
    def written_ms(self) -> int:
        """When Redis took it, by its own clock."""
        return int(self.id.partition(b"-")[0])


class Inbox(Protocol):
    """The worker's way to read events and to be seen alive."""

    async def beat(self, partitions: int, database_epoch: str) -> list[str]:
        """Be alive for another `DEAD_MS`, and give all live workers, this one among them."""

    async def leave(self) -> None:
        """Be dead to the others at once."""

    async def open(self, epoch: int, partitions: Iterable[int]) -> None:
        """Make the groups of `epoch` from the start of the streams, and destroy the older ones (R2)."""

    async def tidy(self, epoch: int, partitions: Sequence[int]) -> None:
        """Destroy groups of older epochs that are there again: what made them was late (R2)."""

    async def read(self, epoch: int, partitions: Sequence[int], count: int) -> list[StreamEntry]:
        """Read what is new to the groups of `epoch`; waits up to `BLOCK_MS` for something."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class _Clients:
    reader: Redis
    writer: Redis


class RedisInbox:
    """`Inbox` on Redis. The reader has a client of its own: a blocking read holds its connection."""

    def __init__(self, connect: Connect, *, keys: Keys, worker: str) -> None:
        self._keys = keys
        self._worker = worker
        self._redis = _Clients(
            connect(name=f"{worker}-reader", connections=2),
            connect(name=f"{worker}-owner", connections=2),
        )
        # The parser of XREADGROUP's answer costs more than the reading: rows are taken as they come.
        self._redis.reader.response_callbacks.pop("XREADGROUP", None)
        self._beat: Any = self._redis.writer.register_script(BEAT)

    async def beat(self, partitions: int, database_epoch: str) -> list[str]:
        """Beat. Raises `StoreUnavailable`."""
        live = await answered(
            self._beat(
                keys=[self._keys.workers, self._keys.meta], args=[self._worker, DEAD_MS, partitions, database_epoch]
            )
        )
        return [worker.decode() for worker in live]

    async def leave(self) -> None:
        """Leave `chat:workers`. Raises `StoreUnavailable`; the beat's deadline then does it."""
        await answered(self._redis.writer.zrem(self._keys.workers, self._worker))

    async def open(self, epoch: int, partitions: Iterable[int]) -> None:
        """Open the streams. Raises `StoreUnavailable`; a later epoch then opens them again."""
        for partition in partitions:
            await answered(self._open(self._keys.inbox(partition), epoch))

    async def _open(self, stream: str, epoch: int) -> None:
        redis = self._redis.writer
        await run_anyway(redis, ("XGROUP", "CREATE", stream, group_of(epoch), "0", "MKSTREAM"))
        await self._destroy_older(stream, await redis.xinfo_groups(stream), epoch)

    async def _destroy_older(self, stream: str, groups: Sequence[Any], epoch: int) -> None:
        for group in groups:
            # A worker that paused in here and wakes up must not destroy the group of its successor.
            if epoch_of(group["name"]) < epoch:
                await self._redis.writer.xgroup_destroy(stream, group["name"])

    async def tidy(self, epoch: int, partitions: Sequence[int]) -> None:
        """Destroy older groups. Raises `StoreUnavailable`; who owns `epoch` no more destroys no later one either."""
        await answered(self._tidy(epoch, [self._keys.inbox(partition) for partition in partitions]))

    async def _tidy(self, epoch: int, streams: Sequence[str]) -> None:
        pipeline = self._redis.writer.pipeline(transaction=False)
        for stream in streams:
            pipeline.xinfo_groups(stream)
        found = await pipeline.execute(raise_on_error=False)
        for stream, groups in zip(streams, found, strict=True):
            if not isinstance(groups, Exception):  # a stream that is gone: Redis was emptied, and the next read tells
                await self._destroy_older(stream, groups, epoch)

    async def read(self, epoch: int, partitions: Sequence[int], count: int) -> list[StreamEntry]:
        """Read. Raises `StoreUnavailable` after any error (R2: a new group from 0, under a new epoch)."""
        streams = {self._keys.inbox(partition).encode(): partition for partition in partitions}
        command = ("XREADGROUP", "GROUP", group_of(epoch), self._worker, "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS")
        work = self._redis.reader.execute_command(*command, *streams, *([b">"] * len(streams)))  # type: ignore[no-untyped-call]  # redis-py's own gap
        answer: Any = await answered(work)
        return [
            StreamEntry(streams[stream], entry_id, _data(fields))
            for stream, entries in answer or ()
            for entry_id, fields in entries
        ]

    async def close(self) -> None:
        """Close both clients."""
        await close_redis(self._redis.reader)
        await close_redis(self._redis.writer)


def _data(fields: Sequence[bytes] | None) -> bytes:
    """Give the one field's value; an entry without it is poison, and its reader will find it empty."""
    if not fields or fields[0] != FIELD:
        return b""
    return fields[1]
