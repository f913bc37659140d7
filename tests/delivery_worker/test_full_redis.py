"""A worker goes on in a Redis whose memory is full: what it does there is what frees it (R5b)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatcore.errors import StoreUnavailable
from chatcore.keys import SYNC_GROUP, Keys, group_of
from chatcore.push import Kind, records
from chatcore.redis_client import Connect, connect_to
from chatcore.stream import FIELD
from delivery_worker.batch import DeadLetter
from delivery_worker.inbox import RedisInbox, StreamEntry
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.requests import Requests
from delivery_worker.router import Publications, RedisRouter
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from tests.harness.servers import REDIS_PASSWORD, running_redis

KEYS = Keys("full")


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Redis for these tests alone: they fill it."""
    async with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Any]:
    """An empty Redis, of whoever may do everything."""
    client = Redis.from_url(url, protocol=2)
    await client.config_set("maxmemory", 0)
    await client.flushall()
    yield client
    await client.config_set("maxmemory", 0)
    await client.aclose()


@pytest.fixture
def connect(url: str) -> Connect:
    """The worker's own way in, with its rights and no more."""
    return connect_to(url.replace("redis://", f"redis://delivery-worker:{REDIS_PASSWORD}@"))


@pytest.fixture
async def inbox(connect: Connect) -> AsyncIterator[RedisInbox]:
    one = RedisInbox(connect, keys=KEYS, worker="w1")
    yield one
    await one.close()


@pytest.fixture
async def router(connect: Connect) -> AsyncIterator[RedisRouter]:
    one = RedisRouter(connect, keys=KEYS, worker="w1", dead_letters=10)
    yield one
    await one.close()


async def fill(redis: Any) -> None:
    """Leave no room: whatever needs memory is refused from now on."""
    await redis.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        await redis.set("more", b"x")


async def test_a_worker_that_starts_in_a_full_redis_beats_takes_over_and_reads_what_is_there(
    redis: Any, inbox: RedisInbox
) -> None:
    stream = KEYS.inbox(3)
    entry = await redis.xadd(stream, {FIELD: b"x"})
    await redis.xgroup_create(stream, group_of(1), id="0")
    await fill(redis)
    assert await inbox.beat(4, "e1") == ["w1"]
    await inbox.open(2, [2, 3])
    assert [group["name"] for group in await redis.xinfo_groups(stream)] == [group_of(2).encode()]
    assert await inbox.read(2, [2, 3], 16) == [StreamEntry(3, entry, b"x")]
    await inbox.leave()
    assert await redis.zrange(KEYS.workers, 0, -1) == []


async def test_a_batch_is_published_and_settled_in_a_full_redis_and_its_dead_letter_is_kept(
    redis: Any, inbox: RedisInbox, router: RedisRouter
) -> None:
    await redis.xadd(KEYS.inbox(0), {FIELD: b"x"})
    await redis.xadd(KEYS.inbox(1), {FIELD: b"poison"})
    await inbox.open(1, [0, 1])
    ear = redis.pubsub()
    await ear.subscribe(KEYS.channel("g1"))
    await ear.parse_response(block=True)
    await fill(redis)
    entries = await inbox.read(1, [0, 1], 16)
    dead = DeadLetter(1, entries[1].id, "unreadable", b"poison")
    await router.publish((), settle=entries, epoch=1, dead=[dead])
    assert [await redis.xlen(KEYS.inbox(partition)) for partition in (0, 1)] == [0, 0]
    assert [fields[b"data"] for _, fields in await redis.xrange(KEYS.dead)] == [b"poison"]
    publications = Publications()
    publications.add("g1", Kind.FRAME, 7, b"\0told\r\n")
    await router.tell(publications)
    assert list(records((await ear.parse_response(block=True))[2])) == [(Kind.FRAME, 7, b"\0told\r\n")]
    await ear.aclose()


async def test_the_group_of_the_requests_is_made_in_a_full_redis(
    redis: Any, connect: Connect, router: RedisRouter
) -> None:
    await fill(redis)
    requests = Requests(
        connect, keys=KEYS, worker="w1", router=router, answerers=(), metrics=WorkerMetrics(CollectorRegistry())
    )
    reading = asyncio.create_task(requests.run())
    async with asyncio.timeout(20):
        while not await redis.exists(KEYS.sync):
            await asyncio.sleep(0.01)
    assert [group["name"] for group in await redis.xinfo_groups(KEYS.sync)] == [SYNC_GROUP.encode()]
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await requests.close()


async def test_a_group_that_is_there_already_is_an_error_in_a_full_redis_too(redis: Any, inbox: RedisInbox) -> None:
    await inbox.open(1, [0])
    await fill(redis)
    with pytest.raises(StoreUnavailable, match="BUSYGROUP"):
        await inbox.open(1, [0])
