"""Members are entered and removed in order, and none is left behind that nobody knows of."""

from typing import Any

import pytest
from chatcore.errors import StoreUnavailable
from chatcore.keys import Keys
from chatcore.stream import Disconnected
from gateway.members import PIECE, Members


class Bench:
    """Runs changes on a Redis, or loses their answers."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self.redis = redis
        self.left: list[Disconnected] = []
        self.members = Members(keys=keys, ttl_ms=30_000, left=self.left.append)

    async def turn(self, *, answered: bool = True) -> int:
        pipeline = self.redis.pipeline(transaction=False)
        changes = self.members.take(pipeline)
        answers = await pipeline.execute(raise_on_error=False)
        if answered:
            self.members.settle(changes, answers)
        else:
            self.members.give_back(changes)
        return len(changes)


@pytest.fixture
def bench(redis: Any, keys: Keys) -> Bench:
    return Bench(redis, keys)


async def test_an_entry_whose_answer_was_lost_is_found_and_removed(bench: Bench, redis: Any, keys: Keys) -> None:
    await redis.zadd(keys.devices("alice"), {"phone|g|11|5": 1, "phone|g|2|5": 2})
    entered = bench.members.enter("alice", "phone|g|1", 0)
    await bench.turn(answered=False)
    with pytest.raises(StoreUnavailable):
        await entered
    assert await redis.zcard(keys.devices("alice")) == 3
    while bench.members:
        await bench.turn()
    assert await redis.zrange(keys.devices("alice"), 0, -1) == [b"phone|g|11|5", b"phone|g|2|5"]
    assert [event.user for event in bench.left] == ["alice"]


async def test_a_removal_is_repeated_until_it_is_answered_and_told_then(bench: Bench, redis: Any, keys: Keys) -> None:
    await redis.zadd(keys.devices("alice"), {"phone|g|1|5": 1})
    bench.members.leave("alice", "phone|g|1|5")
    await bench.turn(answered=False)
    assert bench.left == []
    await bench.turn()
    assert bench.left == [Disconnected("alice", "phone|g|1|5")]
    assert not bench.members


async def test_many_changes_go_out_in_pieces(bench: Bench) -> None:
    for number in range(PIECE + 1):
        bench.members.leave("alice", f"phone|g|{number}|5")
    assert [await bench.turn(), await bench.turn()] == [PIECE, 1]


async def test_who_stopped_waiting_leaves_no_member(bench: Bench, redis: Any, keys: Keys) -> None:
    bench.members.enter("alice", "phone|g|1", 0).cancel()
    await bench.turn()
    await bench.turn()
    assert await redis.exists(keys.devices("alice")) == 0
