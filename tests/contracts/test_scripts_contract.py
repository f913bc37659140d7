"""The services' scripts do the same on the server, as Lua, and on its twin, in Python."""

from typing import Any

import orjson
import pytest
from chatcore.keys import Keys, Member
from chatcore.presence import WATCH_MS
from chatcore.push import Kind, records
from chatcore.stream import FIELD
from delivery_worker.inbox import BEAT, DEAD_MS
from delivery_worker.router import ROUTES
from gateway.members import ENTER
from gateway.watch import KEY_TTL_MS, SIGN
from presence.scripts import FORGET, LOOK, RETIRE, UNWATCH
from redis.exceptions import ResponseError

from tests.contracts.redis_worlds import RedisWorld

KEYS = Keys("chat")
TTL_MS = 30_000
BOB = "b.o-b_@x:+"
"""Every character that a user id may hold beside letters and digits."""


async def now_of(redis: Any) -> int:
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


class Ear:
    """Hears what one gateway is told."""

    def __init__(self, redis: Any, gateway: str) -> None:
        self.gateway = gateway
        self._redis = redis
        self._pubsub = redis.pubsub()

    async def open(self) -> "Ear":
        await self._pubsub.subscribe(KEYS.channel(self.gateway))
        await self._pubsub.parse_response(block=True)
        return self

    async def heard(self) -> list[tuple[int, int, Any]]:
        """Give kind, connection and payload of all that was told until now."""
        await self._redis.publish(KEYS.channel(self.gateway), b"")
        found = []
        while publication := (await self._pubsub.parse_response(block=True))[2]:
            for kind, connection, payload in records(publication):
                user, _, frame = payload.rpartition(b"\0")
                found.append((kind, connection, (user.decode(), orjson.loads(frame))))
        return found

    async def close(self) -> None:
        await self._pubsub.aclose()


async def enter(redis: Any, member: str, entered_ms: int = 0, user: str = BOB) -> int:
    return int(await redis.eval(ENTER, 1, KEYS.devices(user), member, entered_ms, TTL_MS))


async def look(
    redis: Any, *, sweep_until: int = 0, asking: str = "", connection: int = 0, asked_ms: int = 0, ref: str = ""
) -> Any:
    keys = (KEYS.devices(BOB), KEYS.seen(BOB), KEYS.watch(BOB))
    return await redis.eval(
        LOOK, 3, *keys, BOB, TTL_MS, sweep_until, KEYS.channel(""), asking, connection, ref, asked_ms
    )


async def test_a_device_enters_later_than_its_older_connections_though_the_clock_stepped_back(
    world: RedisWorld,
) -> None:
    redis = world.client()
    ahead = await now_of(redis) + 60_000
    await redis.zadd(KEYS.devices(BOB), {f"phone|g1|7|{ahead}": 1, f"pad|g1|8|{ahead + 5_000}": 1, "phone|x": 1})
    assert await enter(redis, "phone|g2|1") == ahead + 1
    assert await enter(redis, "phone|g2|2") == ahead + 2
    assert await enter(redis, "phone|g1|7", ahead) == ahead
    assert await enter(redis, "phon|g2|3") < ahead


async def test_a_member_is_entered_at_the_servers_time_or_again_at_its_own(world: RedisWorld) -> None:
    redis = world.client()
    before = await now_of(redis)
    entered = await enter(redis, "phone|gw-1|7")
    assert before <= entered <= await now_of(redis)
    assert await enter(redis, "desk|gw-1|8", 5) == 5
    rows = await redis.zrange(KEYS.devices(BOB), 0, -1, withscores=True)
    assert {Member.decode(row).device for row, _ in rows} == {"phone", "desk"}
    after = await now_of(redis)
    assert all(before + TTL_MS <= deadline <= after + TTL_MS for _, deadline in rows)


async def test_a_beat_keeps_a_worker_and_drops_the_dead(world: RedisWorld) -> None:
    redis = world.client()
    now = await now_of(redis)
    await redis.zadd(KEYS.workers, {"dead": now - 1, "live": now + 60_000})
    beat = redis.register_script(BEAT)
    assert await beat(keys=[KEYS.workers, KEYS.meta], args=["me", DEAD_MS, 4, "e1"]) == [b"me", b"live"]
    assert await redis.hmget(KEYS.meta, "partitions", "epoch") == [b"4", b"e1"]


async def test_in_a_full_redis_a_worker_beats_a_gateway_shows_that_it_lives_and_transitions_are_told(
    world: RedisWorld,
) -> None:
    redis = world.client()
    ear = await Ear(redis, "gw-1").open()
    await enter(redis, "phone|gw-1|7")
    await world.fill(full=True)
    beat = redis.register_script(BEAT)
    assert await beat(keys=[KEYS.workers, KEYS.meta], args=["me", DEAD_MS, 4, "e1"]) == [b"me"]
    sign = (SIGN, 1, KEYS.gateway("gw-1"), KEY_TTL_MS, -37)
    assert [await redis.eval(*sign), await redis.eval(*sign)] == [None, b"-37"]
    assert 0 < await redis.pttl(KEYS.gateway("gw-1")) <= KEY_TTL_MS
    assert (await look(redis, asking="gw-1", asked_ms=await now_of(redis)))[:2] == [1, 1]
    [(_, _, (user, frame))] = await ear.heard()
    assert (user, frame["online"]) == (BOB, True)
    await ear.close()


async def test_who_comes_is_told_to_whoever_watches_and_to_who_asked(world: RedisWorld) -> None:
    redis = world.client()
    one, two = await Ear(redis, "gw-1").open(), await Ear(redis, "gw-2").open()
    now = await now_of(redis)
    assert await look(redis, asking="gw-1", asked_ms=now) == [0, 0, b""]
    offline = {"type": "presence", "user": BOB, "online": False, "last_seen": None}
    assert await one.heard() == [(Kind.PRESENCE, 0, (BOB, offline))]
    await enter(redis, "phone|gw-1|7")
    [changed, online, next_ms] = await look(redis, asking="gw-2", connection=2**53 - 1, asked_ms=now, ref=',"ref":"r"')
    assert (changed, online) == (1, 1)
    assert float(next_ms) == await redis.zscore(KEYS.devices(BOB), (await redis.zrange(KEYS.devices(BOB), 0, -1))[0])
    here = {**offline, "online": True}
    assert await one.heard() == [(Kind.PRESENCE, 0, (BOB, here))]
    assert await two.heard() == [(Kind.PRESENCE, 0, (BOB, here)), (Kind.FRAME, 2**53 - 1, ("", {**here, "ref": "r"}))]
    assert await look(redis) == [0, 1, next_ms]
    assert await one.heard() == []
    assert await redis.get(KEYS.seen(BOB)) == b"on"
    await one.close()
    await two.close()


@pytest.mark.parametrize("may_sweep", [True, False])
async def test_who_expired_is_gone_where_a_sweep_may_remove(world: RedisWorld, may_sweep: bool) -> None:
    redis = world.client()
    ear = await Ear(redis, "gw-1").open()
    now = await now_of(redis)
    member = f"phone|gw-1|7|{now}"
    await redis.zadd(KEYS.devices(BOB), {member: now - 5})
    await look(redis, asking="gw-1", asked_ms=now)
    await ear.heard()
    answer = await look(redis, sweep_until=now + 60_000 if may_sweep else now - 1)
    if may_sweep:
        gone = {"type": "presence", "user": BOB, "online": False, "last_seen": now - 5 - TTL_MS}
        assert (answer, await ear.heard()) == ([1, 0, b""], [(Kind.PRESENCE, 0, (BOB, gone))])
        assert await redis.exists(KEYS.devices(BOB)) == 0
        assert await redis.get(KEYS.seen(BOB)) == b"%d" % (now - 5 - TTL_MS)
        assert await redis.pttl(KEYS.seen(BOB)) > 0
    else:
        assert (answer[:2], await ear.heard()) == ([0, 1], [])
    await ear.close()


async def test_who_left_was_seen_now_and_who_stopped_watching_hears_nothing(world: RedisWorld) -> None:
    redis = world.client()
    ear = await Ear(redis, "gone").open()
    now = await now_of(redis)
    await redis.zadd(KEYS.watch(BOB), {"gone": now - 1, "gw-1": now + WATCH_MS})
    await redis.set(KEYS.seen(BOB), b"on")
    assert await look(redis) == [1, 0, b""]
    assert now <= int(await redis.get(KEYS.seen(BOB))) <= await now_of(redis)
    assert await ear.heard() == []
    assert await redis.zrange(KEYS.watch(BOB), 0, -1) == [b"gw-1"]
    await ear.close()


async def test_the_later_word_on_a_subscription_counts(world: RedisWorld) -> None:
    redis = world.client()
    now = await now_of(redis)
    await look(redis, asking="gw-1", asked_ms=now)
    await look(redis, asking="gw-1", asked_ms=now - 60_000)
    await redis.eval(UNWATCH, 1, KEYS.watch(BOB), "gw-1", now)
    assert await redis.zscore(KEYS.watch(BOB), "gw-1") == now + WATCH_MS
    assert 0 < await redis.pttl(KEYS.watch(BOB)) <= WATCH_MS
    await redis.eval(UNWATCH, 1, KEYS.watch(BOB), "gw-1", now + 1)
    assert await redis.exists(KEYS.watch(BOB)) == 0


async def test_only_those_without_a_later_deadline_are_forgotten(world: RedisWorld) -> None:
    redis = world.client()
    await redis.zadd(KEYS.deadlines, {"a": 5, "b": 6, "c": 5})
    await redis.eval(FORGET, 1, KEYS.deadlines, 5, "a", "b", "none")
    assert await redis.zrange(KEYS.deadlines, 0, -1) == [b"c", b"b"]


async def test_a_consumer_with_something_pending_keeps_its_name(world: RedisWorld) -> None:
    redis = world.client()
    await redis.xgroup_create(KEYS.presence, "presence", id="0", mkstream=True)
    await redis.execute_command("XADD", KEYS.presence, "*", FIELD, b"1")
    for consumer in ("busy", "idle", "other"):
        if consumer != "busy":
            await redis.execute_command("XGROUP", "CREATECONSUMER", KEYS.presence, "presence", consumer)
        await redis.execute_command("XREADGROUP", "GROUP", "presence", consumer, "STREAMS", KEYS.presence, ">")
    await redis.eval(RETIRE, 1, KEYS.presence, "presence", "-1", "busy")
    await redis.eval(RETIRE, 1, KEYS.presence, "presence", "-1", "idle")
    await redis.eval(RETIRE, 1, KEYS.presence, "presence", "60000", "")
    rows = await redis.xinfo_consumers(KEYS.presence, "presence")
    assert [row["name"] for row in rows] == [b"busy", b"other"]


@pytest.mark.parametrize("full", [True, False])
async def test_routes_are_every_member_of_each_user_in_the_order_of_the_users(world: RedisWorld, full: bool) -> None:
    redis = world.client()
    await redis.zadd("d:a", {"later": 9, "past": 1})
    await redis.zadd("d:b", {"one": 5})
    await world.fill(full=full)
    assert await redis.eval(ROUTES, 0, "d:b", "d:none", "d:a") == [[b"one"], [], [b"past", b"later"]]


async def test_routes_of_a_key_that_holds_something_else_are_an_error(world: RedisWorld) -> None:
    redis = world.client()
    await redis.set("d:a", "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await redis.eval(ROUTES, 0, "d:b", "d:a")
