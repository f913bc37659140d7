"""How clients are sent elsewhere: a drain at the end, dismissals and their recall, connections past their age."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from chatcore.errors import Close
from gateway.app import GatewayApp
from gateway.drain import Drain
from gateway.leaving import GRACE_S, Reason
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.session import Session
from prometheus_client import CollectorRegistry

from tests.gateway.client import Client
from tests.gateway.conftest import MakeGateway
from tests.gateway.test_handshake import get, headers
from tests.gateway.waiting import until
from tests.gateway.worker import Worker


class Peer:
    """Stands for a connection."""

    def __init__(self, number: int) -> None:
        self.number, self.user, self.leaving = number, f"u{number}", False
        self.session = Session(rate=1, burst=1, max_in_flight=1, now=0, expires_at_s=1e9)
        self.told: list[bytes] = []
        self.closed: list[tuple[int, str]] = []

    def push(self, frame: bytes) -> None:
        self.told.append(frame)

    def close_soon(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


class Bench:
    """A drain over peers, stepped by the test's own hand."""

    def __init__(self, count: int) -> None:
        self.registry = Registry()
        self.metrics = GatewayMetrics(CollectorRegistry())
        self.drain = Drain(self.registry, self.metrics)
        self.peers = [Peer(number) for number in range(1, count + 1)]
        for peer in self.peers:
            connection: Any = peer
            self.registry.add(connection)

    @property
    def told(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.told]

    @property
    def closed(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.closed]


async def test_a_dismissal_tells_one_after_the_other_and_closes_each_after_its_grace() -> None:
    bench, now = Bench(300), asyncio.get_running_loop().time()
    bench.drain.dismiss(Reason.UNREACHABLE)
    bench.drain.step(now + 1.5)
    assert 140 < len(bench.told) < 160
    assert bench.closed == []
    bench.drain.step(now + 5.0)
    assert len(bench.told) == 300
    bench.drain.step(now + 5.0 + GRACE_S)
    assert all(peer.closed == [(Close.DRAINING, "unreachable")] for peer in bench.peers)
    assert bench.metrics.sent_away.counts["unreachable"] == 300


async def test_a_dismissal_that_is_recalled_spares_those_who_were_not_told() -> None:
    bench, now = Bench(300), asyncio.get_running_loop().time()
    bench.drain.dismiss(Reason.UNREACHABLE)
    bench.drain.step(now + 1.0)
    told = bench.told
    bench.drain.recall(Reason.UNREACHABLE)
    bench.drain.step(now + 60.0)
    assert bench.told == bench.closed == told


async def test_a_dismissal_for_a_new_epoch_is_neither_recalled_nor_replaced_by_one_that_could_be() -> None:
    bench, now = Bench(300), asyncio.get_running_loop().time()
    bench.drain.dismiss(Reason.RESTORED)
    bench.drain.dismiss(Reason.UNREACHABLE)
    bench.drain.recall(Reason.UNREACHABLE)
    bench.drain.step(now + 60.0)
    assert bench.metrics.sent_away.counts["restored"] == 300


async def test_nobody_is_told_twice() -> None:
    bench, now = Bench(1), asyncio.get_running_loop().time()
    [peer] = bench.peers
    connection: Any = peer
    bench.drain.send_off(connection, Reason.REBALANCING)
    bench.drain.dismiss(Reason.UNREACHABLE)
    bench.drain.step(now + 60.0)
    assert len(peer.told) == len(peer.closed) == 1


async def test_the_gateway_that_has_its_way_again_keeps_its_clients(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.leaving.PER_S", 1)
    app = await make_gateway()
    url = f"http://127.0.0.1:{app.port}/v1/ws"
    async with Client(url) as first, Client(url, "bob") as second:
        app.recovery.lost()
        await until(lambda: app.metrics.sent_away.counts["unreachable"] == 1)
        app.recovery.regained()
        gone, stays = (first, second) if app.registry.by_number[1].leaving else (second, first)
        assert (await gone.until("goaway"))["reason"] == "unreachable"
        assert await gone.closed() == Close.DRAINING
        await stays.send(type="ping")
        assert await stays.until("pong")


async def test_a_drain_tells_works_on_closes_and_forwards_what_came(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        draining = asyncio.create_task(gateway.drain.drain(within_s=8.0))
        goaway = await client.until("goaway")
        assert goaway["reason"] == "draining"
        loop = asyncio.get_running_loop()
        due = loop.time() + goaway["reconnect_after_ms"] / 1000 + 1.9
        await client.send(type="send", id="c1", to="bob", body="x")
        assert (await client.until("sent"))["id"] == "c1"
        assert await client.closed() == Close.DRAINING
        assert loop.time() >= due
        await draining
    await gateway.outbox.flushed()
    assert await redis.exists(gateway.keys.devices("alice")) == 0


async def test_a_drain_with_no_time_still_says_goodbye(gateway: GatewayApp, url: str) -> None:
    async with Client(url) as client:
        draining = asyncio.create_task(gateway.drain.drain(within_s=0.0))
        assert await client.closed() == Close.DRAINING
        await draining
    assert gateway.registry.by_number == {}


async def test_a_drain_does_not_wait_for_those_who_left(gateway: GatewayApp, url: str) -> None:
    async with asyncio.timeout(5):
        await gateway.drain.drain(within_s=60.0)


async def test_those_whom_a_drain_aborts_leave_redis_too(
    gateway: GatewayApp, url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(url):
        monkeypatch.setattr("gateway.connection.Connection.close", lambda *_: None)
        await gateway.drain.drain(within_s=0.0)
        await gateway.outbox.flushed()
        assert await redis.zcard(gateway.keys.devices("alice")) == 0


async def test_a_drain_ends_one_who_is_let_in_while_the_others_are_told(gateway: GatewayApp, url: str) -> None:
    async with Client(url) as client, Client(url, "bob") as late:
        for one in (client, late):
            await one.until("sync")
        [connection] = [c for c in gateway.registry.by_number.values() if c.user == "bob"]
        gateway.registry.remove(connection)
        draining = asyncio.create_task(gateway.drain.drain(within_s=8.0))
        await client.until("goaway")
        gateway.registry.add(connection)
        assert (await late.until("goaway"))["reason"] == "draining"
        assert tuple(await asyncio.gather(late.closed(), client.closed())) == (Close.DRAINING, Close.DRAINING)
        await draining


async def test_what_is_queued_leaves_before_a_drain_closes(gateway: GatewayApp, url: str) -> None:
    async with Client(url) as client:
        await client.until("sync")
        [connection] = gateway.registry.by_number.values()
        draining = asyncio.create_task(gateway.drain.drain(within_s=8.0))
        await until(lambda: connection.leaving)
        transport: Any = client.ws._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()
        for number in range(50):
            connection.push(b'{"type":"message","n":%d,"body":"%s"}' % (number, b"x" * 5_000))
        await until(lambda: connection.close_code or connection.queued_bytes)
        transport.resume_reading()
        assert [(await client.until("message"))["n"] for _ in range(50)] == list(range(50))
        assert await client.closed() == Close.DRAINING
        await draining


async def test_a_handshake_is_told_draining_until_the_last_connection_is_gone(gateway: GatewayApp, url: str) -> None:
    async with Client(url):
        draining = asyncio.create_task(gateway.drain.drain(within_s=4.0))
        refused = 0
        while not draining.done():
            status, code, answer = await get(url + "?device=d", headers())
            assert (status, code) == (503, "draining")
            assert int(answer["Retry-After"]) >= 1
            refused += 1
        assert refused


async def test_a_gateway_that_waits_for_balancers_is_unready_and_lets_clients_in(
    make_gateway: MakeGateway, health_port: Callable[[GatewayApp], int]
) -> None:
    app = await make_gateway(prestop_s=60.0, shutdown_s=90.0)
    waiting = asyncio.ensure_future(app.shutdown()[0].run())
    try:
        await until(lambda: app.drain.leaving)
        async with aiohttp.ClientSession() as session:
            for query in ("", "?exclude=shared"):
                async with session.get(f"http://127.0.0.1:{health_port(app)}/readyz{query}") as response:
                    assert (response.status, await response.text()) == (503, "draining\n")
        async with Client(f"http://127.0.0.1:{app.port}/v1/ws") as client:
            await client.until("sync")
    finally:
        waiting.cancel()
        app.settings = app.settings.model_copy(update={"prestop_s": 0.0})


@pytest.fixture
def health_port() -> Callable[[GatewayApp], int]:
    def port(app: GatewayApp) -> int:
        runner = app.health._runner
        assert runner is not None
        found: int = runner.addresses[0][1]
        return found

    return port


async def test_a_connection_past_its_age_is_asked_to_come_back_elsewhere_and_closed(
    make_gateway: MakeGateway, worker: Worker
) -> None:
    app = await make_gateway(max_connection_age_s=600.0, presence_ttl_s=12)
    url = f"http://127.0.0.1:{app.port}/v1/ws"
    async with Client(url) as old, Client(url, "bob") as young:
        [connection] = [c for c in app.registry.by_number.values() if c.user == "alice"]
        connection.began -= 601.0
        assert (await old.until("goaway"))["reason"] == "rebalancing"
        await old.send(type="send", id="c1", to="bob", body="it works until it closes")
        assert (await old.until("sent"))["id"] == "c1"
        assert await old.closed() == Close.DRAINING
        await young.send(type="ping")
        assert await young.until("pong")
    assert app.metrics.sent_away.counts == {"draining": 0, "unreachable": 0, "restored": 0, "rebalancing": 1}


async def test_nobody_is_rebalanced_while_the_way_through_redis_is_broken(
    gateway: GatewayApp, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(url):
        [connection] = gateway.registry.by_number.values()
        monkeypatch.setattr(gateway.watch, "missing", lambda: "the subscription is not heard")
        gateway._aged(connection)
        assert not connection.leaving
