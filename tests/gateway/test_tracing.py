"""A gateway that traces: what it tells of a frame, and that nothing about a frame depends on it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from chatcore.ids import conversation_id
from chatcore.push import Kind, Trace, record
from chatcore.stream import FIELD
from chatcore.trace import PROCESS_GW, SEND_IN, traced_of
from gateway.app import GatewayApp
from gateway.outbox import Outbox
from gateway.subscriber import Dispatcher
from gateway.turn import place
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.gateway.client import Client
from tests.gateway.conftest import MakeGateway
from tests.gateway.worker import PARTITIONS, Worker
from tests.harness.spans import memory_tracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MESSAGE = b'{"type":"message","peer":"bob","from":"bob","device":"d","seq":1,"id":"x","ts":1,"body":"hi"}'


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], InMemorySpanExporter]:
    """Let the gateways that are made from now on trace a share of the conversations."""

    def begin(ratio: float) -> InMemorySpanExporter:
        tracer, exporter = memory_tracer("gateway", ratio)
        monkeypatch.setattr("gateway.app.open_tracer", lambda *_, **__: tracer)
        return exporter

    return begin


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def url_of(gateway: GatewayApp) -> str:
    return f"http://127.0.0.1:{gateway.port}/v1/ws"


async def items_of(redis: Any, worker: Worker, user: str, peer: str) -> list[Any]:
    """Give what is in a conversation's stream, item by item."""
    stream = worker.keys.inbox(place(user, peer, PARTITIONS))
    return [item for _, fields in await redis.xrange(stream) for item in orjson.loads(fields[FIELD])[2]]


async def test_a_gateway_that_does_not_trace_has_no_part_that_could_and_writes_what_it_always_wrote(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    assert gateway.tracer is None
    assert type(gateway.outbox) is Outbox
    assert type(gateway.make_dispatcher()) is Dispatcher
    async with Client(url) as client:
        await client.send(type="send", id="c1", to="bob", body="hi")
        await client.until("sent")
        await client.send(type="delivery_ack", peer="bob", seq=1)
        await worker.until(worker.acks)
    assert await items_of(redis, worker, "alice", "bob") == [
        [0, 1, "alice", "phone", "bob", "c1", "hi", None],
        [1, 1, "alice", "phone", "bob", 1, 0, None],
    ]


async def test_a_followed_send_is_a_span_until_redis_took_it_and_its_item_carries_the_trace(
    trace: Callable[[float], InMemorySpanExporter], make_gateway: MakeGateway, worker: Worker, redis: Any
) -> None:
    exporter = trace(1.0)
    async with Client(url_of(await make_gateway())) as client:
        await client.send(type="send", id="c1", to="bob", body="hi")
        await client.until("sent")
    [span] = named(exporter, SEND_IN)
    stream = worker.keys.inbox(place("alice", "bob", PARTITIONS))
    [(entry_id, fields)] = await redis.xrange(stream)
    [traced] = traced_of(fields[FIELD])
    assert span.context is not None
    assert traced.traceparent == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert span.attributes is not None
    assert span.attributes["messaging.message.id"] == entry_id.decode()
    assert span.attributes["messaging.destination.name"] == stream
    assert span.attributes["messaging.message.conversation_id"] == conversation_id("alice", "bob").hex()


async def test_what_is_not_followed_leaves_no_span_and_no_trace(
    trace: Callable[[float], InMemorySpanExporter], make_gateway: MakeGateway, worker: Worker, redis: Any
) -> None:
    exporter = trace(0.0)
    async with Client(url_of(await make_gateway())) as client:
        await client.send(type="send", id="c1", to="bob", body="hi")
        await client.until("sent")
        await client.send(type="delivery_ack", peer="bob", seq=1)
        await worker.until(worker.acks)
    assert exporter.get_finished_spans() == ()
    assert {len(item) for item in await items_of(redis, worker, "alice", "bob")} == {8}


async def test_a_followed_send_that_redis_refuses_is_a_span_that_failed(
    trace: Callable[[float], InMemorySpanExporter], make_gateway: MakeGateway, worker: Worker, redis: Any
) -> None:
    exporter = trace(1.0)
    async with Client(url_of(await make_gateway())) as client:
        await redis.set(worker.keys.inbox(place("alice", "bob", PARTITIONS)), "no stream")
        await client.send(type="send", id="c1", to="bob", body="hi")
        assert (await client.until("error"))["code"] == "unavailable"
    [span] = named(exporter, SEND_IN)
    assert span.status.description == "unavailable"


async def test_an_acknowledgement_is_told_with_its_marks_and_carries_its_trace(
    trace: Callable[[float], InMemorySpanExporter], make_gateway: MakeGateway, worker: Worker, redis: Any
) -> None:
    exporter = trace(1.0)
    async with Client(url_of(await make_gateway())) as client:
        await client.send(type="read_ack", peer="bob", seq=7)
        await worker.until(worker.acks)
    [span] = named(exporter, SEND_IN)
    assert span.attributes is not None
    assert (span.attributes["chat.delivered"], span.attributes["chat.read"]) == (7, 7)
    assert len((await items_of(redis, worker, "alice", "bob"))[0]) == 9


async def test_a_traced_frame_is_followed_until_it_is_written(
    trace: Callable[[float], InMemorySpanExporter], make_gateway: MakeGateway, worker: Worker, redis: Any
) -> None:
    exporter = trace(1.0)
    gateway = await make_gateway()
    async with Client(url_of(gateway)) as client:
        await client.until("sync")
        traced = record(Kind.FRAME, 1, MESSAGE) + record(Kind.TRACE, 1, Trace(PARENT, "message").encode())
        await redis.publish(worker.keys.channel(gateway.gateway_id), traced)
        await client.until("message")
    [span] = await worker.until(lambda: named(exporter, PROCESS_GW))
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" in PARENT
    assert span.attributes is not None
    assert span.attributes["chat.frame"] == "message"


async def test_a_traced_frame_for_a_connection_that_is_gone_says_so(
    trace: Callable[[float], InMemorySpanExporter], make_gateway: MakeGateway, worker: Worker
) -> None:
    exporter = trace(1.0)
    gateway = await make_gateway()
    await worker.tell(gateway.gateway_id, Kind.TRACE, 99, Trace(PARENT, "message").encode())
    [span] = await worker.until(lambda: named(exporter, PROCESS_GW))
    assert span.status.description == "the connection is gone"


@pytest.mark.parametrize("tracing", [True, False])
async def test_a_trace_that_is_damaged_or_of_no_use_takes_no_frame_with_it(
    trace: Callable[[float], InMemorySpanExporter],
    make_gateway: MakeGateway,
    worker: Worker,
    redis: Any,
    *,
    tracing: bool,
) -> None:
    if tracing:
        trace(1.0)
    gateway = await make_gateway()
    async with Client(url_of(gateway)) as client:
        await client.until("sync")
        parts = [record(Kind.TRACE, 1, payload) for payload in (b"", b"\xff", b"nonsense", PARENT.encode())]
        await redis.publish(worker.keys.channel(gateway.gateway_id), b"".join([*parts, record(Kind.FRAME, 1, MESSAGE)]))
        await client.until("message")
