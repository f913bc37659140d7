"""The service on a real Redis, as gateways see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from chatcore.ids import UserId
from chatcore.keys import PRESENCE_GROUP, Keys
from chatcore.lifecycle import Supervisor
from chatcore.push import Kind
from chatcore.stream import FIELD, Connected, Heartbeats, TypingSeen, encode_presence
from presence import events
from presence.app import PresenceApp
from presence.settings import PresenceSettings
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.harness.servers import REDIS_PASSWORD
from tests.presence.gateways import TTL_MS, Gateway, now_ms


class Replica:
    """A running replica."""

    def __init__(self, app: PresenceApp) -> None:
        self.app = app
        self.supervisor = Supervisor()

    def value(self, name: str, **labels: str) -> float:
        return self.app.registry.get_sample_value(name, labels) or 0.0

    async def stop(self) -> None:
        self.supervisor.close()
        for step in self.app.shutdown():
            await step.run()


Start = Callable[[], Awaitable[Replica]]


@pytest.fixture
async def start(redis: Any, presence_redis: str, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts replicas."""
    monkeypatch.setattr("chatcore.vitals.Vitals.settle", lambda _: None)  # the collector is the test run's
    replicas: list[Replica] = []

    async def make() -> Replica:
        settings = PresenceSettings(
            name="presence",
            redis_url=presence_redis,
            redis_user="presence",
            redis_password=SecretStr(REDIS_PASSWORD),
            key_prefix=keys.prefix,
        )
        replica = Replica(PresenceApp(settings))
        replicas.append(replica)
        await replica.app.start(replica.supervisor)
        return replica

    yield make
    for replica in replicas:
        await replica.stop()


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def nothing_waits(redis: Any, keys: Keys) -> bool:
    if await redis.xlen(keys.presence) or not await redis.exists(keys.presence):
        return False
    groups = await redis.xinfo_groups(keys.presence)
    return bool(groups) and groups[0]["pending"] == 0


async def sweeping(redis: Any, keys: Keys) -> None:
    """Somebody swept a moment ago: there is no gap."""
    await redis.set(keys.swept, await now_ms(redis), px=60_000)


async def test_a_subscriber_is_told_who_comes_and_who_goes(gateway: Gateway, start: Start) -> None:
    await start()
    await gateway.subscribe("bob", 7, "s1")
    frame = {"type": "presence", "user": "bob", "online": False, "last_seen": None, "ref": "s1"}
    assert await gateway.hear() == (Kind.FRAME, 7, frame)
    member = await gateway.connect("bob")
    assert await gateway.told() == {"type": "presence", "user": "bob", "online": True, "last_seen": None}
    before = await now_ms(gateway.redis)
    await gateway.disconnect("bob", member)
    gone = await gateway.told()
    assert gone["online"] is False
    assert before <= gone["last_seen"] <= await now_ms(gateway.redis)


async def test_several_replicas_tell_each_transition_once_and_in_order(gateway: Gateway, start: Start) -> None:
    await start()
    await start()
    await gateway.subscribe("bob", 7)
    await gateway.hear()
    for number in range(1, 11):
        member = await gateway.connect("bob", connection=number)
        assert (await gateway.told())["online"] is True
        await gateway.disconnect("bob", member)
        assert (await gateway.told())["online"] is False
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))
    assert gateway.heard.empty()


async def test_a_late_disconnect_of_an_old_connection_evicts_no_newer_one(gateway: Gateway, start: Start) -> None:
    await start()
    old = await gateway.connect("bob", connection=1)
    new = await gateway.connect("bob", connection=2)
    await gateway.disconnect("bob", old)
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))
    await gateway.subscribe("bob", 7)
    assert (await gateway.hear())[2]["online"] is True
    assert await gateway.redis.zrange(gateway.keys.devices("bob"), 0, -1) == [new.encode()]


async def test_a_device_that_vanished_is_told_to_be_gone_since_its_last_beat(gateway: Gateway, start: Start) -> None:
    await sweeping(gateway.redis, gateway.keys)
    await start()
    await gateway.subscribe("bob", 7)
    await gateway.hear()
    member = await gateway.connect("bob", ttl_ms=1_500)  # its gateway dies, and tells nobody
    deadline = await gateway.redis.zscore(gateway.keys.devices("bob"), member)
    assert (await gateway.told())["online"] is True
    assert await gateway.told() == {
        "type": "presence",
        "user": "bob",
        "online": False,
        "last_seen": int(deadline) - TTL_MS,
    }
    assert await gateway.redis.exists(gateway.keys.devices("bob")) == 0


async def test_a_devices_time_runs_from_when_it_was_heard_and_not_from_its_gateways_beat(
    gateway: Gateway, start: Start
) -> None:
    await start()
    heard = await gateway.connect("alice", ttl_ms=1_000)
    silent = await gateway.connect("bob", ttl_ms=1_000)
    before = await now_ms(gateway.redis)
    await gateway.beat(("bob", silent), silent_ms=20_000)
    await gateway.beat(("alice", heard))
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))
    assert await gateway.redis.zscore(gateway.keys.devices("alice"), heard) >= before + TTL_MS
    late = await gateway.redis.zscore(gateway.keys.devices("bob"), silent)
    assert before + TTL_MS - 20_000 <= late < before + TTL_MS


async def test_after_presence_was_away_only_those_who_do_not_beat_are_gone(gateway: Gateway, start: Start) -> None:
    beating = await gateway.enter("alice", ttl_ms=-60_000)
    await gateway.enter("bob", ttl_ms=-60_000)
    for user in ("alice", "bob"):
        await gateway.redis.set(gateway.keys.seen(user), "on")
    await gateway.redis.zadd(gateway.keys.deadlines, {"alice": 1, "bob": 1})
    await gateway.redis.set(gateway.keys.swept, await now_ms(gateway.redis) - 40_000)
    await start()
    for user in ("alice", "bob"):
        await gateway.subscribe(user, 7)
        assert (await gateway.hear())[2]["online"] is True
    await gateway.beat(("alice", beating))
    gone = await gateway.told()
    assert (gone["user"], gone["online"]) == ("bob", False)
    assert await gateway.redis.zscore(gateway.keys.devices("alice"), beating) is not None
    assert gateway.heard.empty()


async def test_after_a_wipe_every_announcing_gateway_is_told_how_it_stands(
    gateway: Gateway, other_gateway: Gateway, start: Start
) -> None:
    await start()
    await gateway.connect("alice")
    await gateway.connect("bob")
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))
    await gateway.redis.flushall()  # and bob's gateway dies in the same moment
    await gateway.connect("alice")
    for one in (gateway, other_gateway):
        await one.announce("alice")
        await one.announce("bob")
    for one in (gateway, other_gateway):
        told = {(frame["user"], frame["online"]) for frame in [await one.told(), await one.told()]}
        assert told == {("alice", True), ("bob", False)}


async def test_what_a_dead_replica_read_is_handled_by_another(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "CLAIM_IDLE_MS", 0)
    monkeypatch.setattr(events, "TIDY_S", 0.0)
    await gateway.redis.xgroup_create(gateway.keys.presence, PRESENCE_GROUP, id="0", mkstream=True)
    await gateway.connect("bob")
    read = await gateway.redis.xreadgroup(PRESENCE_GROUP, "dead", {gateway.keys.presence: ">"})
    assert read
    await start()
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))
    assert await gateway.redis.get(gateway.keys.seen("bob")) == b"on"


async def test_what_a_lost_answer_brought_is_read_again(
    gateway: Gateway, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await start()
    await until(lambda: _true(replica.app.stream.alive))
    reader = replica.app.stream._reader
    execute = reader.execute_command
    lost: list[Any] = []

    async def lose_one(*command: Any) -> Any:
        answer = await execute(*command)  # type: ignore[no-untyped-call]  # redis-py's own gap
        if answer and not lost:
            lost.append(answer)
            raise RedisConnectionError("the answer was lost")
        return answer

    monkeypatch.setattr(reader, "execute_command", lose_one)
    await gateway.announce("bob")  # ends the read that is on its way
    await gateway.told()
    await gateway.subscribe("bob", 7)
    assert (await gateway.hear())[2]["online"] is False
    assert lost
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))


async def _true(value: bool) -> bool:
    return value


async def test_stale_beats_and_typing_are_dropped_and_stale_connects_are_not(gateway: Gateway, start: Start) -> None:
    redis, keys = gateway.redis, gateway.keys
    member = await gateway.enter("bob", ttl_ms=5_000)
    deadline = await redis.zscore(keys.devices("bob"), member)
    bob = UserId("bob")
    stale = [Heartbeats([(bob, member)]), TypingSeen(UserId("alice"), bob), Connected(bob, member)]
    await redis.xadd(keys.presence, {FIELD: encode_presence(stale)}, id=f"{await now_ms(redis) - 11_000}-1")
    replica = await start()
    await until(lambda: nothing_waits(redis, keys))
    assert await redis.zscore(keys.devices("bob"), member) == deadline
    assert await redis.get(keys.seen("bob")) == b"on"
    assert replica.value("chat_presence_events_stale_total") == 2
    assert gateway.heard.empty()


async def test_an_entry_at_fault_is_counted_and_settled_and_harms_no_other(gateway: Gateway, start: Start) -> None:
    faults = (b"", b"{}", b"[[2,5]]", b"[[0,1,2]]", b"[[9]]", b"\xff", b'[[2,[["a"]]]]', b'[[2,[["a",3]]]]')
    for fault in faults:
        await gateway.redis.xadd(gateway.keys.presence, {FIELD: fault})
    await gateway.redis.xadd(gateway.keys.presence, {"other": b"x"})
    replica = await start()
    await gateway.subscribe("bob", 7)
    assert (await gateway.hear())[2]["online"] is False
    await until(lambda: nothing_waits(gateway.redis, gateway.keys))
    assert replica.value("chat_presence_entries_unreadable_total") == len(faults) + 1


async def test_a_stopping_replica_finishes_what_it_read_and_leaves_nothing_pending(
    gateway: Gateway, start: Start
) -> None:
    replica = await start()
    await until(lambda: _true(replica.app.stream.alive))
    for number in range(50):
        await gateway.connect(f"user-{number}")
    await replica.stop()
    groups = await gateway.redis.xinfo_groups(gateway.keys.presence)
    assert (groups[0]["pending"], groups[0]["consumers"]) == (0, 0)
    seen = [await gateway.redis.get(gateway.keys.seen(f"user-{number}")) for number in range(50)]
    left = await gateway.redis.xlen(gateway.keys.presence)
    assert seen.count(b"on") + left == 50


async def test_a_replica_is_ready_once_redis_answered(gateway: Gateway, start: Start) -> None:
    replica = await start()
    assert replica.app._missing() is not None
    await until(lambda: _true(replica.app._missing() is None))
