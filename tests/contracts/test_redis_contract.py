"""What the services rely on of Redis holds for the server and for its twin."""

import asyncio
from typing import Any

import pytest
from chatcore.full_redis import execute_anyway, run_anyway
from gateway.members import ENTER
from presence.scripts import UNWATCH
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, NoScriptError, OutOfMemoryError, ResponseError

from tests.contracts.redis_worlds import RedisWorld

S, G = "stream", "delivery-1"


async def read(client: Any, group: str = G, consumer: str = "w", after: str = ">", block: int | None = None) -> Any:
    wait = () if block is None else ("BLOCK", block)
    answer = await client.execute_command(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", 10, *wait, "STREAMS", S, after
    )
    return [(entry, fields) for _, entries in answer or () for entry, fields in entries]


async def add(client: Any, *values: str) -> list[bytes]:
    return [await client.execute_command("XADD", S, "*", b"f", value) for value in values]


async def until_blocked(task: "asyncio.Task[Any]") -> None:
    """Let a read reach the server; nothing shows from outside that it waits there."""
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert not task.done()


async def test_a_group_made_from_the_start_reads_all_that_is_there_and_once(world: RedisWorld) -> None:
    redis = world.client()
    ids = await add(redis, "a", "b")
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    assert await read(redis) == [(ids[0], {b"f": b"a"}), (ids[1], {b"f": b"b"})]
    assert await read(redis) == []


async def test_ids_ascend_and_tell_the_servers_time(world: RedisWorld) -> None:
    redis = world.client()
    seconds, micros = await redis.time()
    ids = [tuple(map(int, entry.split(b"-"))) for entry in await add(redis, *"abcdef")]
    assert ids == sorted(set(ids))
    assert 0 <= ids[0][0] - (seconds * 1000 + micros // 1000) < 5_000


async def test_what_was_read_stays_pending_until_it_is_acknowledged(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    ids = await add(redis, "a", "b", "c")
    await read(redis)
    assert (await redis.xpending(S, G))["pending"] == 3
    assert await redis.xack(S, G, ids[0], ids[0], "1-1") == 1
    assert [entry for entry, _ in await read(redis, after="0")] == ids[1:]
    assert await read(redis, consumer="other", after="0") == []


async def test_a_deleted_entry_stays_pending_without_its_fields(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    [entry] = await add(redis, "a")
    await read(redis)
    assert await redis.xdel(S, entry, "1-1") == 1
    assert await redis.xlen(S) == 0
    answer = await redis.execute_command("XREADGROUP", "GROUP", G, "w", "COUNT", 10, "STREAMS", S, "0")
    assert [(found, fields or None) for _, rows in answer for found, fields in rows] == [(entry, None)]


async def test_a_new_group_reads_again_what_another_left_pending(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    ids = await add(redis, "a", "b")
    await read(redis)
    await redis.xack(S, G, ids[0])
    await redis.xdel(S, ids[0])
    await redis.xgroup_create(S, "delivery-2", id="0", mkstream=True)
    assert [entry for entry, _ in await read(redis, "delivery-2")] == [ids[1]]
    assert [group["name"] for group in await redis.xinfo_groups(S)] == [b"delivery-1", b"delivery-2"]


@pytest.mark.parametrize("stream_is_there", [True, False])
async def test_reading_without_the_group_says_so(world: RedisWorld, stream_is_there: bool) -> None:
    redis = world.client()
    if stream_is_there:
        await add(redis, "a")
    with pytest.raises(ResponseError, match="NOGROUP"):
        await read(redis)
    with pytest.raises(ResponseError, match="NOGROUP"):
        await read(redis, block=50)


async def test_a_group_that_is_there_is_not_made_twice(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    with pytest.raises(ResponseError, match="BUSYGROUP"):
        await redis.xgroup_create(S, G, id="0", mkstream=True)
    with pytest.raises(ResponseError, match="requires the key to exist"):
        await redis.xgroup_create("none", G, id="0")


async def test_a_reader_that_waits_gets_what_comes(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    reading = asyncio.create_task(read(redis, block=5_000))
    await until_blocked(reading)
    [entry] = await add(redis, "a")
    assert await reading == [(entry, {b"f": b"a"})]
    assert (await redis.xpending(S, G))["pending"] == 1


async def test_a_reader_that_waits_in_vain_gets_nothing(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    assert await read(redis, block=20) == []


async def test_of_two_readers_that_wait_the_first_gets_the_entry(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    first = asyncio.create_task(read(redis, consumer="one", block=2_000))
    await until_blocked(first)
    second = asyncio.create_task(read(redis, consumer="two", block=200))
    await until_blocked(second)
    [entry] = await add(redis, "a")
    assert [found for found, _ in await first] == [entry]
    assert await second == []


async def test_a_reader_whose_group_is_destroyed_while_it_waits_hears_of_it(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    reading = asyncio.create_task(read(redis, block=5_000))
    await until_blocked(reading)
    assert await redis.xgroup_destroy(S, G) == 1
    assert await redis.xgroup_destroy(S, G) == 0
    with pytest.raises(ResponseError, match="NOGROUP"):
        await reading


@pytest.mark.parametrize("how", ["del", "flushall"])
async def test_a_reader_whose_stream_is_gone_while_it_waits_hears_of_it(world: RedisWorld, how: str) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    reading = asyncio.create_task(read(redis, block=5_000))
    await until_blocked(reading)
    await (redis.delete(S) if how == "del" else redis.flushall())
    with pytest.raises(ResponseError, match=r"UNBLOCKED|NOGROUP"):
        await reading


async def test_a_reader_that_is_cut_off_while_it_waits_takes_nothing(world: RedisWorld) -> None:
    redis, other = world.client(), world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    reading = asyncio.create_task(read(redis, block=5_000))
    await until_blocked(reading)
    await world.cut()
    with pytest.raises(RedisConnectionError):
        await reading
    await add(other, "a")
    assert (await other.xpending(S, G))["pending"] == 0


async def test_one_read_answers_for_all_its_streams_that_have_something(world: RedisWorld) -> None:
    redis = world.client()
    for stream in ("s1", "s2", "s3"):
        await redis.xgroup_create(stream, G, id="0", mkstream=True)
    await redis.xadd("s1", {"f": "a"})
    await redis.xadd("s3", {"f": "b"})
    redis.response_callbacks.pop("XREADGROUP", None)
    answer = await redis.execute_command(
        "XREADGROUP", "GROUP", G, "w", "COUNT", 1, "BLOCK", 100, "STREAMS", "s1", "s2", "s3", ">", ">", ">"
    )
    assert [(stream, [fields for _, fields in rows]) for stream, rows in answer] == [
        (b"s1", [[b"f", b"a"]]),
        (b"s3", [[b"f", b"b"]]),
    ]


async def test_a_trim_leaves_the_pending_list_alone_and_a_claim_drops_what_is_gone(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    ids = await add(redis, "a", "b")
    await read(redis, consumer="dead")
    await redis.xdel(S, ids[0])
    assert (await redis.xpending(S, G))["pending"] == 2
    _, claimed, deleted = await redis.xautoclaim(S, G, "w", min_idle_time=0, count=10)
    assert (claimed, deleted) == ([(ids[1], {b"f": b"b"})], [ids[0]])
    assert (await redis.xpending(S, G))["consumers"] == [{"name": b"w", "pending": 1}]


async def test_a_claim_takes_only_what_is_idle_for_long(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    [entry] = await add(redis, "a")
    await read(redis, consumer="busy")
    assert await redis.xautoclaim(S, G, "w", min_idle_time=60_000, count=10, justid=True) == []
    assert await redis.xautoclaim(S, G, "w", min_idle_time=0, count=10, justid=True) == [entry]
    with pytest.raises(ResponseError, match="NOGROUP"):
        await redis.xautoclaim(S, "none", "w", min_idle_time=0)


async def test_an_approximate_bound_drops_only_what_is_far_past_it(world: RedisWorld) -> None:
    redis = world.client()
    for _ in range(150):
        await redis.xadd(S, {"f": "x"}, maxlen=100, approximate=True)
    assert 100 <= await redis.xlen(S) <= 200


async def test_sorted_sets_keep_their_order_and_their_conditions(world: RedisWorld) -> None:
    redis = world.client()
    assert await redis.zadd("z", {"b": 2, "a": 2, "c": 1}) == 3
    assert await redis.zrange("z", 0, -1) == [b"c", b"a", b"b"]
    await redis.execute_command(b"ZADD", b"z", b"XX", b"GT", b"5", b"a", b"9", b"new")
    await redis.execute_command(b"ZADD", b"z", b"XX", b"GT", b"1", b"b")
    await redis.zadd("z", {"c": 7, "d": 3}, nx=True)
    assert await redis.zrange("z", 0, -1, withscores=True) == [(b"c", 1.0), (b"b", 2.0), (b"d", 3.0), (b"a", 5.0)]
    assert await redis.zrangebyscore("z", "-inf", 3, start=0, num=2) == [b"c", b"b"]
    assert await redis.zrangebyscore("z", "(1", "+inf") == [b"b", b"d", b"a"]
    assert await redis.zrange("z", 2, "+inf", byscore=True) == [b"b", b"d", b"a"]
    assert await redis.zremrangebyscore("z", "-inf", "(3") == 2
    assert (await redis.zcard("z"), await redis.zscore("z", "d"), await redis.zscore("z", "x")) == (2, 3.0, None)
    assert await redis.zrem("z", "d", "a", "x") == 2
    assert await redis.exists("z") == 0


async def test_strings_expire_and_tell_what_they_were(world: RedisWorld) -> None:
    redis = world.client()
    assert await redis.set("k", b"1", px=60_000, get=True) is None
    assert await redis.set("k", b"2", px=30, get=True) == b"1"
    async with asyncio.timeout(5):
        while await redis.get("k") is not None:
            await asyncio.sleep(0.01)
    assert await redis.set("k", b"3", get=True) is None
    assert await redis.pttl("k") == -1
    await redis.pexpire("k", 60_000)
    assert 0 < await redis.pttl("k") <= 60_000
    assert await redis.delete("k", "none") == 1


async def test_hashes_give_what_they_have(world: RedisWorld) -> None:
    redis = world.client()
    assert await redis.hset("h", mapping={"partitions": 4, "epoch": "e"}) == 2
    assert await redis.hmget("h", b"partitions", b"epoch", b"none") == [b"4", b"e", None]
    assert await redis.hmget("none", b"a") == [None]


async def test_a_key_of_another_type_is_refused(world: RedisWorld) -> None:
    redis = world.client()
    await redis.set("k", b"1")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await redis.zadd("k", {"a": 1})


async def test_a_publication_reaches_subscribers_in_order_and_nobody_later(world: RedisWorld) -> None:
    redis = world.client()
    assert await redis.publish("c", b"early") == 0
    pubsub = redis.pubsub()
    await pubsub.subscribe("c")
    assert await pubsub.parse_response(block=True) == [b"subscribe", b"c", 1]
    pipeline = redis.pipeline(transaction=True)
    pipeline.publish("c", b"1").publish("other", b"2").publish("c", b"3")
    assert await pipeline.execute() == [1, 0, 1]
    assert [await pubsub.parse_response(block=True) for _ in range(2)] == [
        [b"message", b"c", b"1"],
        [b"message", b"c", b"3"],
    ]
    await pubsub.aclose()
    async with asyncio.timeout(5):
        while await redis.publish("c", b"late"):
            await asyncio.sleep(0.01)


async def test_a_subscription_that_is_cut_fails_and_what_was_published_meanwhile_is_gone(world: RedisWorld) -> None:
    redis = world.client()
    pubsub = redis.pubsub()
    await pubsub.subscribe("c")
    await pubsub.parse_response(block=True)
    await world.cut()
    with pytest.raises(RedisConnectionError):
        await pubsub.parse_response(block=True)
    await pubsub.aclose()
    other = world.client()
    await other.publish("c", b"missed")
    again = other.pubsub()
    await again.subscribe("c")
    assert await again.parse_response(block=True) == [b"subscribe", b"c", 1]
    await other.publish("c", b"heard")
    assert (await again.parse_response(block=True))[2] == b"heard"
    await again.aclose()


async def test_a_pipeline_answers_each_command_and_can_keep_errors_as_answers(world: RedisWorld) -> None:
    redis = world.client()
    await redis.set("k", b"1")
    pipeline = redis.pipeline(transaction=False)
    pipeline.zadd("k", {"a": 1}).get("k").zrange("none", 0, -1)
    assert len(pipeline.command_stack) == len(pipeline) == 3
    first, *others = await pipeline.execute(raise_on_error=False)
    assert isinstance(first, ResponseError)
    assert others == [b"1", []]
    assert len(pipeline.command_stack) == 0
    pipeline.zadd("k", {"a": 1}).set("k", b"2")
    with pytest.raises(ResponseError):
        await pipeline.execute()
    assert await redis.get("k") == b"2"


async def test_a_full_server_refuses_what_grows_and_takes_what_shrinks(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    await add(redis, "a")
    await world.fill(full=True)
    [(entry, _)] = await read(redis)
    with pytest.raises(OutOfMemoryError):
        await add(redis, "b")
    with pytest.raises(ResponseError, match="maxmemory"):
        await redis.xgroup_create(S, "delivery-2", id="0", mkstream=True)
    with pytest.raises(ResponseError, match="maxmemory"):
        await redis.eval(ENTER, 1, "z", "m", 0, 1_000)
    await redis.eval(UNWATCH, 1, "w", "g", 5)
    pipeline = redis.pipeline(transaction=False)
    pipeline.publish("c", b"1").xadd(S, {"f": "c"}).xack(S, G, entry).xdel(S, entry)
    told, refused, *settled = await pipeline.execute(raise_on_error=False)
    assert (told, settled) == (0, [1, 1])
    assert isinstance(refused, OutOfMemoryError)


async def test_a_full_server_refuses_every_transaction(world: RedisWorld) -> None:
    redis = world.client()
    await world.fill(full=True)
    pipeline = redis.pipeline(transaction=True)
    pipeline.publish("c", b"1").xdel(S, "1-1")
    with pytest.raises(OutOfMemoryError):
        await pipeline.execute()


async def test_what_a_full_server_refuses_in_one_step_is_run_in_one_step_anyway(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    await add(redis, "a", "b")
    ear = redis.pubsub()
    await ear.subscribe("c")
    await ear.parse_response(block=True)
    await world.fill(full=True)
    ids = [entry for entry, _ in await read(redis)]
    pipeline = redis.pipeline(transaction=True)
    pipeline.publish("c", b"1").xadd("dead", {"f": "x"}, maxlen=10, approximate=True).xack(S, G, *ids).xdel(S, *ids)
    told, dead, *settled = await execute_anyway(redis, pipeline)
    assert (told, settled) == (1, [2, 2])
    assert [entry for entry, _ in await redis.xrange("dead")] == [dead]
    assert (await ear.parse_response(block=True))[2] == b"1"
    assert await redis.xlen(S) == 0
    await ear.aclose()


@pytest.mark.parametrize("full", [True, False])
async def test_a_command_that_fails_keeps_none_of_its_step_from_running(world: RedisWorld, full: bool) -> None:
    redis = world.client()
    await run_anyway(redis, ("XGROUP", "CREATE", S, G, "0", "MKSTREAM"))
    await world.fill(full=full)
    with pytest.raises(ResponseError, match="BUSYGROUP"):
        await run_anyway(redis, ("XGROUP", "CREATE", S, G, "0", "MKSTREAM"), ("ZADD", "z", 5, b"\0\r\n"))
    assert await redis.zrange("z", 0, -1, withscores=True) == [(b"\0\r\n", 5.0)]


async def test_a_pipeline_that_a_full_server_took_in_part_is_run_as_a_whole(world: RedisWorld) -> None:
    redis = world.client()
    await redis.zadd("z", {"a": 1})
    await world.fill(full=True)
    pipeline = redis.pipeline(transaction=False)
    pipeline.zadd("z", {"a": 7}, xx=True, gt=True).zrem("z", "b").zadd("z", {"c": 2}, nx=True)
    assert await execute_anyway(redis, pipeline) == [0, 0, 1]
    assert await redis.zrange("z", 0, -1, withscores=True) == [(b"c", 2.0), (b"a", 7.0)]


async def test_a_script_must_be_loaded_before_its_sum_is_enough(world: RedisWorld) -> None:
    redis = world.client()
    script = redis.register_script(UNWATCH)
    await redis.execute_command("SCRIPT", "FLUSH")
    with pytest.raises(NoScriptError):
        await redis.evalsha(script.sha, 1, "w", "g", 5)
    assert await redis.script_load(UNWATCH) == script.sha.encode() or script.sha
    assert await redis.evalsha(script.sha, 1, "w", "g", 5) is None


async def test_a_client_raises_past_its_connections_instead_of_waiting(world: RedisWorld) -> None:
    redis = world.client(connections=1)
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    reading = asyncio.create_task(read(redis, block=200))
    await until_blocked(reading)
    with pytest.raises(MaxConnectionsError):
        await redis.time()
    assert await reading == []
    assert await redis.time()


async def test_a_cancelled_command_leaves_no_answer_behind(world: RedisWorld) -> None:
    redis = world.client(connections=1)
    await redis.xgroup_create(S, G, id="0", mkstream=True)
    reading = asyncio.create_task(read(redis, block=5_000))
    await until_blocked(reading)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await redis.set("k", b"1") is True
    assert await redis.get("k") == b"1"
