"""What a gateway does when Redis, its subscription or its clients fail it, and how it ends."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from chatcore.errors import Close
from chatcore.ids import ConnectionNumber, GatewayId, UserId
from chatcore.push import Kind, record
from chatcore.stream import Connected, Disconnected, Heartbeats, Subscribed
from gateway.app import GatewayApp
from gateway.watch import MAX_MISSES

from tests.gateway.client import Client
from tests.gateway.conftest import MakeGateway
from tests.gateway.test_handshake import get, headers
from tests.gateway.waiting import until
from tests.gateway.worker import Worker


async def test_pages_are_pulled_one_after_the_other(url: str, worker: Worker) -> None:
    worker.pages = [b'{"type":"sync","n":%d}' % n for n in range(5)]
    async with Client(url) as client:
        assert [(await client.until("sync"))["n"] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [request.number for request in worker.syncs("alice")] == [1, 2, 3, 4, 5]


async def test_after_a_wipe_members_are_entered_again_with_their_first_time_and_synced(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.syncs.SPREAD_S", 0.1)
    async with Client(url) as client:
        await client.until("sync")
        key = gateway.keys.devices("alice")
        before = await redis.zrange(key, 0, -1)
        await redis.flushall()
        worker.rewind()
        await worker.beat()
        again = await client.until("sync")
        assert again["done"]
        assert await redis.zrange(key, 0, -1) == before
        assert worker.syncs("alice")[-1].since == "t1"
        await worker.until(lambda: worker.presence.count(Connected("alice", before[0].decode())) == 2)


async def test_a_subscription_that_was_cut_is_renewed_and_followed_by_a_sync(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.syncs.SPREAD_S", 0.1)
    async with Client(url) as client:
        await client.until("sync")
        await redis.client_kill_filter(_type="pubsub")
        assert (await client.until("sync"))["done"]
        await worker.tell(gateway.gateway_id, Kind.FRAME, 1, b'{"type":"message"}')
        await client.until("message")


async def test_after_a_gap_members_are_entered_and_subscriptions_announced_again(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        await client.send(type="presence_subscribe", users=["bob"])
        await worker.until(lambda: any(isinstance(event, Subscribed) for event in worker.presence))
        key = gateway.keys.devices("alice")
        ((member, _),) = await redis.zrange(key, 0, -1, withscores=True)
        await redis.zrem(key, member)
        worker.presence.clear()
        await redis.client_kill_filter(_type="pubsub")
        await worker.until(lambda: Connected("alice", member.decode()) in worker.presence)
        assert await redis.zrange(key, 0, -1) == [member]
        announced = Subscribed(UserId("bob"), GatewayId(gateway.gateway_id), ConnectionNumber(0), None)
        await worker.until(lambda: announced in worker.presence)


async def test_a_connection_heard_again_after_presence_gave_it_up_is_entered_and_synced(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.syncs.SPREAD_S", 0.1)
    async with Client(url) as client, Client(url, "bob") as beside:
        for one in (client, beside):
            await one.until("sync")
        key = gateway.keys.devices("alice")
        ((member, _),) = await redis.zrange(key, 0, -1, withscores=True)
        await redis.zrem(key, member)
        worker.presence.clear()
        gateway.registry.by_number[1].heard_at -= 30
        await client.ws.pong()
        assert (await client.until("sync"))["done"]
        assert await redis.zrange(key, 0, -1) == [member]
        assert worker.presence == [Connected("alice", member.decode())]
        assert len(worker.syncs("bob")) == 1


async def test_a_connection_that_leaves_while_it_is_entered_again_leaves_no_member(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        (connection,) = gateway.registry.by_number.values()
        gateway.recovery.returned(connection)
        connection.abort()
    await worker.until(lambda: any(isinstance(event, Disconnected) for event in worker.presence))
    await gateway.outbox.flushed()
    assert await redis.exists(gateway.keys.devices("alice")) == 0


@asynccontextmanager
async def full(redis: Any) -> AsyncIterator[None]:
    """Have Redis take nothing that grows."""
    await redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        await redis.config_set("maxmemory", 0)


async def test_a_full_redis_takes_heartbeats_and_what_else_was_told_follows_when_it_has_room(
    gateway: GatewayApp, worker: Worker, redis: Any
) -> None:
    beats = Heartbeats([["alice", "m1"]], 0)  # type: ignore[list-item]  # as it is read
    async with full(redis):
        gateway.outbox.tell(Connected(UserId("alice"), "m1"))
        gateway.outbox.tell(beats)
        await worker.until(lambda: worker.presence)
        assert worker.presence == [beats]
    await worker.until(lambda: Connected(UserId("alice"), "m1") in worker.presence)


async def test_a_full_redis_is_given_no_heartbeats_that_presence_does_not_read(
    gateway: GatewayApp, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    most = await redis.xlen(gateway.keys.presence) + 1
    monkeypatch.setattr("gateway.outbox.FULL_MAXLEN", most)
    failed = gateway.metrics.pipelines_failed
    async with full(redis):
        before = failed._value.get()
        for turns in (1, 2, 3):
            gateway.outbox.tell(Heartbeats([(UserId("alice"), "m1")], 0))
            await until(partial(lambda turns: failed._value.get() == before + turns, turns))
        assert await redis.xlen(gateway.keys.presence) == most


@asynccontextmanager
async def shut_out(redis: Any) -> AsyncIterator[None]:
    """Let no gateway into Redis."""
    await redis.acl_setuser("gateway", enabled=False, reset=False)
    await redis.execute_command("CLIENT", "KILL", "USER", "gateway")
    try:
        yield
    finally:
        await redis.acl_setuser("gateway", enabled=True, reset=False)


async def test_a_broken_subscription_refuses_handshakes_before_a_probe_is_missed(
    gateway: GatewayApp, url: str, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    async def broken() -> None:
        raise ConnectionError("refused")

    probes = gateway.metrics.probe_misses._value.get()
    with monkeypatch.context() as patched:
        patched.setattr(gateway.subscriber, "_read", broken)
        await redis.client_kill_filter(_type="pubsub")
        await until(lambda: gateway.watch.missing())
        assert gateway.metrics.probe_misses._value.get() < probes + MAX_MISSES
        assert (await get(url + "?device=d", headers()))[:2] == (503, "not_ready")
    await until(lambda: gateway.watch.missing() is None)
    async with Client(url) as client:
        await client.until("sync")


async def test_clients_of_a_gateway_that_lost_redis_are_sent_away_and_those_not_told_yet_stay_when_it_is_back(
    gateway: GatewayApp, url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.watch.LOST_S", 0.5)
    monkeypatch.setattr("gateway.watch.LOOK_S", 0.1)
    monkeypatch.setattr("gateway.leaving.PER_S", 0.1)
    async with Client(url) as first, Client(url, "bob") as second:
        async with shut_out(redis):
            await until(lambda: any(c.leaving for c in gateway.registry.by_number.values()))
            gone, stays = (first, second) if gateway.registry.by_number[1].leaving else (second, first)
            assert (await gone.until("goaway"))["reason"] == "unreachable"
            assert await gone.closed() == Close.DRAINING
        await until(lambda: gateway.watch.missing() is None)
        assert (await stays.until("sync"))["done"]
        await stays.send(type="ping")
        assert (await stays.frame())["type"] in {"pong", "sync"}
    assert gateway.metrics.sent_away.counts["unreachable"] == 1


async def test_what_a_damaged_publication_lost_comes_with_a_sync(
    gateway: GatewayApp, url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.syncs.SPREAD_S", 0.1)
    async with Client(url) as client:
        await client.until("sync")
        told = record(Kind.FRAME, 1, b'{"type":"message"}')
        await redis.publish(gateway.keys.channel(gateway.gateway_id), told + told[:-1])
        await client.until("message")
        assert (await client.until("sync"))["done"]
    assert gateway.metrics.publications_damaged._value.get() == 1


async def test_many_damaged_publications_make_no_storm_and_the_last_one_is_healed_too(
    gateway: GatewayApp, url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.syncs.SPREAD_S", 0.01)
    async with Client(url) as client:
        await client.until("sync")
        for _ in range(20):
            await redis.publish(gateway.keys.channel(gateway.gateway_id), b"\0")
        damaged = gateway.metrics.publications_damaged
        await until(lambda: damaged._value.get() == 20)
        await until(lambda: gateway.metrics.syncs.counts["gap"] == 1)
        gateway.recovery._healed()  # the time is over
        await until(lambda: gateway.metrics.syncs.counts["gap"] == 2)
        gateway.recovery._healed()
        await client.send(type="ping")
        await client.until("pong")
        assert gateway.metrics.syncs.counts["gap"] == 2


async def test_a_subscription_that_hears_nothing_is_found_by_its_probe(
    gateway: GatewayApp, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.watch.RENEW_S", 0.0)
    monkeypatch.setattr("gateway.watch.LOOK_S", 0.02)
    renewed: list[int] = []
    monkeypatch.setattr(gateway.subscriber, "renew", lambda: renewed.append(1))
    monkeypatch.setattr(gateway.subscriber._dispatcher, "dispatch", lambda _: None)
    await worker.until(lambda: gateway.watch.missing())
    await worker.until(lambda: renewed)
    monkeypatch.undo()


async def test_sends_that_redis_did_not_take_are_unavailable_and_acks_go_later(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        await redis.config_set("maxmemory", "1")
        try:
            await client.send(type="send", id="c1", to="bob", body="x")
            await client.send(type="delivery_ack", peer="bob", seq=3)
            error = await client.until("error")
            assert (error["code"], error["ref"], error["retry_after_ms"]) == ("unavailable", "c1", 1000)
            await client.send(type="history", ref="h1", peer="bob")
            error = await client.until("error")
            assert (error["code"], error["ref"], error["retry_after_ms"]) == ("unavailable", "h1", 1000)
        finally:
            await redis.config_set("maxmemory", "0")
        await worker.until(worker.acks)
        await client.send(type="send", id="c1", to="bob", body="x")
        await client.until("sent")
    assert len(worker.sends()) == 1


async def test_a_redis_that_answers_nothing_makes_sends_unavailable(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        await redis.execute_command("CLIENT", "PAUSE", "6000", "ALL")
        await client.send(type="send", id="c1", to="bob", body="x")
        await client.send(type="conversations", ref="l1")
        errors = [await client.until("error") for _ in range(2)]
        assert {(error["code"], error["ref"]) for error in errors} == {("unavailable", "c1"), ("unavailable", "l1")}
    await worker.until(lambda: gateway.watch.missing() is None, within_s=15)


async def test_another_database_epoch_sends_everybody_away_and_is_named_then(url: str, worker: Worker) -> None:
    async with Client(url) as client:
        await worker.beat(epoch="e2")
        goaway = await client.until("goaway")
        assert goaway["reconnect_after_ms"] >= 0
        assert await client.closed() == Close.DRAINING
    async with Client(url) as client:
        assert client.welcome["epoch"] == "e2"


async def test_a_client_that_stops_reading_is_closed_with_4408_and_others_never_notice(
    make_gateway: MakeGateway, worker: Worker
) -> None:
    app = await make_gateway(queue_bytes=200_000)
    url = f"http://127.0.0.1:{app.port}/v1/ws"
    async with Client(url) as slow, Client(url, "bob") as other:
        number = 1
        assert slow.ws._response.connection is not None
        transport: Any = slow.ws._response.connection.transport
        transport.pause_reading()
        frame = b'{"type":"message","body":"' + b"x" * 16_000 + b'"}'
        connection = app.registry.by_number[number]
        async with asyncio.timeout(10):
            while connection.close_code is None:
                await worker.tell(app.gateway_id, Kind.FRAME, number, frame)
                assert connection.queued_bytes <= 200_000 + len(frame) + 10
        assert connection.close_code == Close.TOO_SLOW
        await other.send(type="ping")
        assert await other.until("pong")
        transport.resume_reading()
        assert await slow.closed() == Close.TOO_SLOW
        await worker.until(lambda: number not in app.registry.by_number)


async def test_a_reader_that_never_reads_again_is_let_go(
    make_gateway: MakeGateway, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.connection.CLOSE_S", 0.2)
    app = await make_gateway(queue_bytes=70_000)
    async with Client(f"http://127.0.0.1:{app.port}/v1/ws") as slow:
        transport: Any = slow.ws._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()
        async with asyncio.timeout(10):
            while 1 in app.registry.by_number:
                await worker.tell(app.gateway_id, Kind.FRAME, 1, b'"' + b"x" * 30_000 + b'"')
                await asyncio.sleep(0)
        transport.abort()


async def test_a_connection_that_ended_at_fault_leaves_no_cycle_behind(gateway: GatewayApp, url: str) -> None:
    gc.collect()
    gc.disable()
    try:
        async with Client(url) as client:
            await client.until("sync")
            (gone,) = [weakref.ref(connection) for connection in gateway.registry.by_number.values()]
            await client.ws.send_str(" " * 70_000)
            assert await client.closed() == Close.TOO_LARGE
            await until(lambda: gone() is None)
    finally:
        gc.enable()


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_connection_that_ended_leaves_no_cycle_behind(gateway: GatewayApp, url: str, abruptly: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        async with Client(url) as client:
            await client.until("sync")
            (gone,) = [weakref.ref(connection) for connection in gateway.registry.by_number.values()]
            if abruptly:
                assert client.ws._response.connection is not None
                transport: Any = client.ws._response.connection.transport
                transport.abort()
            else:
                await client.ws.close()
            await until(lambda: gone() is None)
    finally:
        gc.enable()


async def test_liveness_readiness_and_metrics_are_served(gateway: GatewayApp, url: str) -> None:
    runner = gateway.health._runner
    assert runner is not None
    port = runner.addresses[0][1]
    async with Client(url), aiohttp.ClientSession() as session:
        for path, status in (("healthz", 200), ("readyz", 200), ("metrics", 200)):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as response:
                assert response.status == status
                text = await response.text()
        assert "chat_gateway_connections 1.0" in text
        gateway.drain.leaving = True
        async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
            assert (response.status, await response.text()) == (503, "draining\n")
