"""The groups of a partition's stream: one for each epoch, and those of earlier owners go, whenever they were made."""

from typing import Any

from chatcore.keys import Keys, group_of
from delivery_worker.inbox import RedisInbox

from tests.contracts.redis_worlds import TwinWorld

KEYS = Keys("chat")
STREAM = KEYS.inbox(0)


def inbox(world: TwinWorld, worker: str) -> RedisInbox:
    return RedisInbox(lambda *, name, connections=4: world.client(connections=connections), keys=KEYS, worker=worker)


async def groups(redis: Any) -> list[bytes]:
    return [row["name"] for row in await redis.xinfo_groups(STREAM)]


async def test_the_group_of_an_earlier_owner_that_was_made_late_is_destroyed_by_the_next_look() -> None:
    world = TwinWorld()
    redis = world.client()
    successor = inbox(world, "w2")
    await successor.open(4, [0])
    await redis.xgroup_create(STREAM, group_of(3), "0")
    await redis.xadd(STREAM, {"f": "x"})
    await inbox(world, "w1").read(3, [0], 10)
    await successor.tidy(4, [0])
    assert await groups(redis) == [group_of(4).encode()]


async def test_who_was_replaced_destroys_no_group_of_its_successor() -> None:
    world = TwinWorld()
    redis = world.client()
    former, successor = inbox(world, "w1"), inbox(world, "w2")
    await former.open(3, [0])
    await successor.open(4, [0])
    await former.tidy(3, [0])
    assert await groups(redis) == [group_of(4).encode()]


async def test_a_stream_that_is_gone_needs_no_tidying() -> None:
    await inbox(TwinWorld(), "w1").tidy(3, [0])
