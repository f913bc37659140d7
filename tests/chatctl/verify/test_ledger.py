"""The ledger: what leaves a stream before MySQL holds it is named, and a wiped Redis accuses nobody."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from chatcore.ids import conversation_id, partition_of
from chatcore.keys import Keys
from chatcore.stream import FIELD, encode_entry, send_item
from chatctl.verify.ledger import Ledger
from redis.asyncio import Redis

from tests.conftest import MakeStack
from tests.harness.stack import Stack

DEADLINE_S = 30.0
PARTITIONS = 32


@pytest.fixture
async def still(make_stack: MakeStack) -> Stack:
    """A stack whose worker is held: nothing that lies in a stream is handled."""
    stack = await make_stack(gateways=1, workers=1)
    stack.signal("worker-1", signal.SIGSTOP)
    return stack


@pytest.fixture
async def ledger(still: Stack) -> AsyncIterator[Ledger]:
    made = Ledger(still)
    looking = asyncio.create_task(made.run())
    await until(lambda: made.looks >= 2)
    yield made
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.02)


async def _looked_again(ledger: Ledger) -> None:
    looks = ledger.looks
    await until(lambda: ledger.looks >= looks + 2)


async def _add(redis: Redis, sender: str) -> tuple[str, bytes | str]:
    stream = Keys().inbox(partition_of(conversation_id(sender, "bob"), PARTITIONS))
    entry = encode_entry("gateway-1.ab", 0, [send_item(1, sender, "phone", "bob", "c1", "hi", None)])
    return stream, await redis.xadd(stream, {FIELD: entry})


async def test_an_event_that_left_its_stream_unstored_is_named(still: Stack, ledger: Ledger) -> None:
    redis = still.redis()
    stream, entry = await _add(redis, "alice")
    await _looked_again(ledger)
    await redis.xdel(stream, entry)
    await until(lambda: bool(ledger.early))
    assert "'alice', 'bob', 'c1'" in ledger.early[0]
    await redis.aclose()


async def test_what_vanished_with_redis_accuses_nobody(still: Stack, ledger: Ledger) -> None:
    redis = still.redis()
    await _add(redis, "alice")
    await _looked_again(ledger)
    await redis.flushall()
    await _looked_again(ledger)
    await _looked_again(ledger)
    assert ledger.early == []
    await redis.aclose()
