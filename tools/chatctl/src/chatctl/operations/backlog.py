"""Owns what waits in the streams: how much, for how long, and whose it is."""

from dataclasses import dataclass
from typing import Any

from chatcore.errors import ConfigurationError
from chatcore.keys import epoch_of
from chatcore.redis_client import answered
from delivery_worker.store.ownership import MySQLOwnerStore
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from chatctl.deployment import Deployment
from chatctl.failure import Failure
from chatctl.operations.clock import now_ms, oldest_ms


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stream, and what in it is not settled."""

    stream: str
    entries: int
    oldest_s: float | None
    """Age of its first entry; None: it is empty."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition as MySQL and Redis know it."""

    partition: int
    owner: str | None
    """None: nobody ever owned it."""
    epoch: int
    """In MySQL: the fence."""
    group_epoch: int | None
    """Of the newest consumer group; unlike `epoch` for longer than a takeover, nobody reads the partition."""
    entries: int
    pending: int
    """Read by the owner, and not settled."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A worker that owns partitions, or could."""

    worker: str
    alive: bool
    """It beats in `chat:workers`."""
    dead_in_s: float | None
    partitions: int


async def partition_count(deployment: Deployment) -> int:
    """Read from MySQL how many partitions there are. Raises `Failure`, `StoreUnavailable`."""
    async with deployment.session() as session:
        try:
            return (await MySQLOwnerStore(session, owner="chatctl").meta()).partitions
        except ConfigurationError as error:
            raise Failure(str(error), advice="run `delivery-worker migrate`") from error


async def backlog(deployment: Deployment) -> list[Waiting]:
    """Look at every stream that services read. Raises `StoreUnavailable`."""
    keys = deployment.keys
    partitions = await partition_count(deployment)
    async with deployment.redis() as redis:
        now = await now_ms(redis)
        streams = [*(keys.inbox(partition) for partition in range(partitions)), keys.sync, keys.presence]
        return [await _waiting(redis, stream, now) for stream in streams]


async def _waiting(redis: Redis, stream: str, now: int) -> Waiting:
    oldest = await oldest_ms(redis, stream)
    entries = await answered(redis.xlen(stream))
    return Waiting(stream, entries, None if oldest is None else max(now - oldest, 0) / 1000)


async def partitions(deployment: Deployment) -> list[PartitionState]:
    """Look at every partition. Raises `StoreUnavailable`."""
    rows = await _owner_rows(deployment)
    async with deployment.redis() as redis:
        return [
            PartitionState(partition, owner or None, epoch, *await _groups(redis, deployment.keys.inbox(partition)))
            for partition, epoch, owner in rows
        ]


async def owners(deployment: Deployment) -> list[Owner]:
    """Look at the workers: those that beat, and those that are named as owners and do not."""
    rows = await _owner_rows(deployment)
    async with deployment.redis() as redis:
        now = await now_ms(redis)
        beats: Any = await answered(redis.zrange(deployment.keys.workers, 0, -1, withscores=True))
    deadlines = {worker.decode(): deadline for worker, deadline in beats}
    counts: dict[str, int] = {}
    for _, _, owner in rows:
        if owner:
            counts[owner] = counts.get(owner, 0) + 1
    return [_owner(worker, deadlines.get(worker), now, counts) for worker in sorted({*deadlines, *counts})]


def _owner(worker: str, deadline: float | None, now: int, counts: dict[str, int]) -> Owner:
    alive = deadline is not None and deadline >= now
    return Owner(worker, alive, None if deadline is None else (deadline - now) / 1000, counts.get(worker, 0))


async def _owner_rows(deployment: Deployment) -> list[tuple[int, int, str]]:
    async with deployment.session() as session:
        rows = (await session.run("SELECT partition_id, epoch, owner FROM partition_owner ORDER BY partition_id"))[0]
    return [(int(partition), int(epoch), str(owner)) for partition, epoch, owner in rows]


async def _groups(redis: Redis, stream: str) -> tuple[int | None, int, int]:
    """Give the newest group's epoch, the stream's length, and what that group holds unsettled."""
    entries = await answered(redis.xlen(stream))
    try:
        groups: Any = await redis.xinfo_groups(stream)
    except ResponseError:  # no such stream: Redis was wiped, or nobody ever wrote
        return None, entries, 0
    newest = max(groups, key=lambda group: epoch_of(group["name"]), default=None)
    if newest is None:
        return None, entries, 0
    return epoch_of(newest["name"]), entries, int(newest["pending"])
