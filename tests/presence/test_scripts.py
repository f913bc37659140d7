"""Each script and round trip of presence by itself, on a real Redis."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from chatcore.ids import ConnectionNumber, GatewayId, UserId
from chatcore.keys import PRESENCE_GROUP, Keys
from chatcore.presence import WATCH_MS
from chatcore.push import Kind, presence_payload, record
from chatcore.redis_client import connect_to
from chatcore.stream import Subscribed, TypingSeen, Unsubscribed
from presence.devices import Devices
from presence.metrics import PresenceMetrics
from presence.scripts import RETIRE
from prometheus_client import CollectorRegistry

from tests.presence.gateways import TTL_MS, Gateway, now_ms

BOB = UserId("b.o-b_@x:+")
"""Every character that a user id may hold beside letters and digits."""


@pytest.fixture
async def devices(redis: Any, presence_redis: str, keys: Keys) -> AsyncIterator[Devices]:
    registry = CollectorRegistry()
    one = Devices(connect_to(presence_redis), keys=keys, name="test", ttl_ms=TTL_MS, metrics=PresenceMetrics(registry))
    yield one
    await one.close()


async def subscribe(devices: Devices, gateway: Gateway, user: str, connection: int, ref: str | None = None) -> None:
    word = Subscribed(UserId(user), gateway.id, ConnectionNumber(connection), ref)
    await devices.subscribe([(word, await now_ms(gateway.redis))])


async def raw_publications(redis: Any, channel: str, work: Any) -> list[bytes]:
    pubsub = redis.pubsub()
    await pubsub.subscribe(channel)
    assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
    await work
    await redis.publish(channel, b"end")
    found = []
    while (message := await pubsub.get_message(timeout=5))["data"] != b"end":
        found.append(message["data"])
    await pubsub.aclose()
    return found


@pytest.mark.parametrize("connection", [1, 255, 2**32, 2**53 - 1])
async def test_the_scripts_write_the_records_that_the_push_codec_writes(
    devices: Devices, gateway: Gateway, connection: int
) -> None:
    channel = devices._keys.channel(gateway.id)
    frame = b'{"type":"presence","user":"b.o-b_@x:+","online":false,"last_seen":null'
    answers = await raw_publications(gateway.redis, channel, subscribe(devices, gateway, BOB, connection, "r_-1"))
    assert answers == [record(Kind.FRAME, connection, frame + b',"ref":"r_-1"}')]
    announced = await raw_publications(gateway.redis, channel, subscribe(devices, gateway, BOB, 0))
    assert announced == [record(Kind.PRESENCE, 0, presence_payload(BOB, frame + b"}"))]
    await gateway.enter(BOB)
    came = await raw_publications(gateway.redis, channel, devices.look([BOB], "connection"))
    frame = b'{"type":"presence","user":"b.o-b_@x:+","online":true,"last_seen":null}'
    assert came == [record(Kind.PRESENCE, 0, presence_payload(BOB, frame))]


async def test_last_seen_is_written_in_whole_milliseconds(devices: Devices, gateway: Gateway) -> None:
    await subscribe(devices, gateway, "bob", 0)
    assert (await gateway.told())["online"] is False
    member = await gateway.enter("bob")
    await devices.look(["bob"], "connection")
    assert (await gateway.told())["online"] is True
    last_beat = await now_ms(gateway.redis) - TTL_MS - 1
    await gateway.redis.zadd(devices._keys.devices("bob"), {member: last_beat + TTL_MS})
    devices.sweep_until = 2 * last_beat
    await devices.look(["bob"], "sweep")
    frame = await gateway.told()
    assert frame["last_seen"] == last_beat
    assert isinstance(frame["last_seen"], int)


async def test_a_subscription_that_finds_a_transition_tells_everybody_and_answers_its_own(
    devices: Devices, gateway: Gateway, other_gateway: Gateway
) -> None:
    await subscribe(devices, other_gateway, "bob", 0)
    await other_gateway.told()
    await gateway.enter("bob")
    await subscribe(devices, gateway, "bob", 3, "r")
    assert (await other_gateway.told())["online"] is True
    assert (await gateway.told())["online"] is True
    kind, connection, frame = await gateway.hear()
    assert (kind, connection, frame["online"], frame["ref"]) == (Kind.FRAME, 3, True, "r")


async def test_a_gateway_that_stopped_announcing_is_told_no_more(devices: Devices, gateway: Gateway) -> None:
    now = await now_ms(gateway.redis)
    await gateway.redis.zadd(devices._keys.watch("bob"), {"gone": now - 1, gateway.id: now + WATCH_MS})
    await gateway.enter("bob")
    assert (
        await raw_publications(gateway.redis, devices._keys.channel("gone"), devices.look(["bob"], "connection")) == []
    )
    assert (await gateway.told())["online"] is True
    assert await gateway.redis.zrange(devices._keys.watch("bob"), 0, -1) == [gateway.id.encode()]


async def test_an_end_of_a_subscription_that_comes_after_a_newer_one_is_ignored(
    devices: Devices, gateway: Gateway
) -> None:
    now = await now_ms(gateway.redis)
    later = Subscribed(UserId("bob"), gateway.id, ConnectionNumber(0), None)
    await devices.subscribe([(later, now)])
    await devices.unsubscribe([(Unsubscribed(UserId("bob"), gateway.id), now - 5)])
    assert await gateway.redis.zscore(devices._keys.watch("bob"), gateway.id) == now + WATCH_MS
    await devices.unsubscribe([(Unsubscribed(UserId("bob"), gateway.id), now + 5)])
    assert await gateway.redis.exists(devices._keys.watch("bob")) == 0


async def test_a_late_announcement_never_shortens_a_subscription(devices: Devices, gateway: Gateway) -> None:
    now = await now_ms(gateway.redis)
    word = Subscribed(UserId("bob"), gateway.id, ConnectionNumber(0), None)
    await devices.subscribe([(word, now), (word, now - 60_000)])
    assert await gateway.redis.zscore(devices._keys.watch("bob"), gateway.id) == now + WATCH_MS


async def test_a_user_who_came_while_a_sweep_was_on_its_way_is_still_looked_at(
    devices: Devices, gateway: Gateway
) -> None:
    await gateway.redis.zadd(devices._keys.deadlines, {"bob": 1})
    tick = await devices.tick(10)
    assert tick.due == ["bob"]
    await gateway.redis.zadd(devices._keys.deadlines, {"bob": tick.now + TTL_MS})  # another replica saw bob come
    await devices.sweep(tick)
    assert await gateway.redis.zscore(devices._keys.deadlines, "bob") == tick.now + TTL_MS


async def test_a_sweep_forgets_who_has_no_device(devices: Devices, gateway: Gateway) -> None:
    await gateway.redis.zadd(devices._keys.deadlines, {"bob": 1})
    await devices.sweep(await devices.tick(10))
    assert await gateway.redis.exists(devices._keys.deadlines) == 0


async def test_a_sweep_keeps_whom_it_may_not_remove(devices: Devices, gateway: Gateway) -> None:
    member = await gateway.enter("bob", ttl_ms=-1)
    await gateway.redis.zadd(devices._keys.deadlines, {"bob": 1})
    tick = await devices.tick(10)
    devices.sweep_until = tick.now - 1
    await devices.sweep(tick)
    assert await gateway.redis.zscore(devices._keys.devices("bob"), member) is not None


async def test_beats_extend_devices_and_create_none(devices: Devices, gateway: Gateway) -> None:
    member, now = await gateway.enter("bob"), await now_ms(gateway.redis) + 10_000
    await devices.extend([("bob", member), ("bob", "tablet|g|9|1"), ("carol", "phone|g|8|1")], now)
    assert await gateway.redis.zrange(devices._keys.devices("bob"), 0, -1, withscores=True) == [
        (member.encode(), now + TTL_MS)
    ]
    assert await gateway.redis.exists(devices._keys.devices("carol")) == 0


async def test_a_late_beat_never_moves_a_deadline_back(devices: Devices, gateway: Gateway) -> None:
    member = await gateway.enter("bob")
    deadline = await gateway.redis.zscore(devices._keys.devices("bob"), member)
    await devices.extend([("bob", member)], await now_ms(gateway.redis) - 5_000)
    assert await gateway.redis.zscore(devices._keys.devices("bob"), member) == deadline


async def test_the_scripts_are_loaded_again_by_a_server_that_lost_them(devices: Devices, gateway: Gateway) -> None:
    await subscribe(devices, gateway, "bob", 0)
    await gateway.told()
    await gateway.redis.script_flush()
    await gateway.enter("bob")
    await devices.look(["bob"], "connection")
    assert (await gateway.told())["online"] is True


async def test_typing_reaches_every_connection_of_the_peer_in_one_publication_a_gateway(
    devices: Devices, gateway: Gateway, other_gateway: Gateway
) -> None:
    await gateway.enter("bob", "phone", 1)
    await gateway.enter("bob", "tablet", 2)
    await other_gateway.enter("bob", "desk", 5)
    await gateway.redis.zadd(devices._keys.devices("bob"), {"damaged": 1})
    published = await raw_publications(
        gateway.redis, devices._keys.channel(gateway.id), devices.tell_typing([TypingSeen(UserId("al"), UserId("bob"))])
    )
    frame = orjson.dumps({"type": "typing", "peer": "al"})
    assert published == [record(Kind.FRAME, 1, frame) + record(Kind.FRAME, 2, frame)]
    assert await other_gateway.hear() == (Kind.FRAME, 5, {"type": "typing", "peer": "al"})


async def test_a_replicas_name_is_deleted_only_while_nothing_is_pending_under_it(redis: Any, keys: Keys) -> None:
    await redis.xgroup_create(keys.presence, PRESENCE_GROUP, id="0", mkstream=True)
    await redis.xadd(keys.presence, {"f": "x"})
    await redis.xreadgroup(PRESENCE_GROUP, "busy", {keys.presence: ">"})
    for name in ("idle", "other"):
        await redis.xgroup_createconsumer(keys.presence, PRESENCE_GROUP, name)
    await redis.eval(RETIRE, 1, keys.presence, PRESENCE_GROUP, "-1", "busy")
    await redis.eval(RETIRE, 1, keys.presence, PRESENCE_GROUP, "-1", "idle")
    assert await _names(redis, keys) == {"busy", "other"}
    await redis.eval(RETIRE, 1, keys.presence, PRESENCE_GROUP, "600000", "")
    assert await _names(redis, keys) == {"busy", "other"}
    await redis.eval(RETIRE, 1, keys.presence, PRESENCE_GROUP, "-1", "")
    assert await _names(redis, keys) == {"busy"}


async def _names(redis: Any, keys: Keys) -> set[str]:
    return {row["name"].decode() for row in await redis.xinfo_consumers(keys.presence, PRESENCE_GROUP)}


async def test_a_script_touches_the_keys_of_one_user_alone(keys: Keys) -> None:
    tags = {key[key.index("{") : key.index("}")] for key in (keys.devices("bob"), keys.seen("bob"), keys.watch("bob"))}
    assert tags == {"{bob"}
    assert GatewayId("{") not in keys.deadlines
