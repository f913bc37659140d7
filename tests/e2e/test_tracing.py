"""One trace tells a message's whole way, on a stack of real processes that hand their spans to a collector."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from chatcore.ids import conversation_id
from chatcore.trace import COMMIT, PROCESS_GW, PROCESS_IN, SEND_GW, SEND_IN, SETTLE_IN

from tests.conftest import MakeStack
from tests.harness.cast import Cast
from tests.harness.spans import Collector, SeenSpan

ALL = {"CHAT_TRACE_RATIO": "1"}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as one:
        yield one


def ways(collector: Collector, conversation: str) -> list[list[SeenSpan]]:
    """Give the traces of a conversation's messages and acknowledgements, and each one's spans, in order of time."""
    roots = collector.named(SEND_IN, messaging__message__conversation_id=conversation)
    roots.sort(key=lambda span: span.began_ns)
    return [
        sorted((span for span in collector.spans if span.trace == root.trace), key=lambda span: span.began_ns)
        for root in roots
    ]


async def until_seen(collector: Collector, conversation: str, *, traces: int, last: int) -> list[list[SeenSpan]]:
    """Wait until so many traces are there, whole to so many spans together."""
    async with asyncio.timeout(30):
        while True:
            found = ways(collector, conversation)
            if len(found) == traces and sum(map(len, found)) == last:
                return found
            await asyncio.sleep(0.05)


async def test_one_trace_tells_the_way_from_the_frame_to_the_sockets(
    make_stack: MakeStack, collector: Collector
) -> None:
    stack = await make_stack(environment={"CHAT_TRACE_ENDPOINT": collector.url, **ALL})
    async with Cast(stack) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender = await cast.online(alice, gateway=0)
        recipient = await cast.online(bob, gateway=1)
        await sender.send({"type": "send", "id": "c1", "to": bob, "body": "a secret of theirs"})
        await sender.expect("sent")
        await recipient.expect("message")
        await recipient.send({"type": "delivery_ack", "peer": alice, "seq": 1})
        await sender.expect("receipt")
        conversation = conversation_id(alice, bob).hex()
        message, ack = await until_seen(collector, conversation, traces=2, last=7 + 5)
    steps = {span.name: span for span in message}
    root, process = steps[SEND_IN], steps[PROCESS_IN]
    assert (root.service, process.service) == ("gateway", "delivery-worker")
    assert process.parent == root.span
    assert {steps[name].parent for name in (COMMIT, SEND_GW, SETTLE_IN)} == {process.span}
    assert root.attributes["messaging.message.id"] == process.attributes["messaging.message.id"]
    assert process.attributes["chat.seq"] == 1
    sockets = {span.attributes["chat.frame"]: span for span in message if span.name == PROCESS_GW}
    assert sockets.keys() == {"sent", "message"}
    assert {span.parent for span in sockets.values()} == {steps[SEND_GW].span}
    assert sockets["sent"].instance == root.instance != sockets["message"].instance
    assert all(span.failed == "" and span.began_ns <= span.ended_ns for span in message)
    assert [span.name for span in ack[:2]] == [SEND_IN, PROCESS_IN]
    assert (ack[0].attributes["chat.delivered"], ack[0].instance) == (1, sockets["message"].instance)


async def test_a_batch_has_a_trace_of_its_own_that_links_to_its_messages(
    make_stack: MakeStack, collector: Collector
) -> None:
    stack = await make_stack(gateways=1, workers=1, environment={"CHAT_TRACE_ENDPOINT": collector.url, **ALL})
    async with Cast(stack) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender = await cast.online(alice)
        for number in range(50):
            await sender.send({"type": "send", "id": f"c{number}", "to": bob, "body": "hi"})
        for _ in range(50):
            await sender.expect("sent")
        messages = await until_seen(collector, conversation_id(alice, bob).hex(), traces=50, last=50 * 6)
    batches = [span for span in collector.named(PROCESS_IN) if not span.parent]
    linked = [trace for span in batches for trace in span.linked]
    assert sorted(linked) == sorted(message[0].trace for message in messages)
    assert {trace for message in messages for span in message for trace in span.linked} == {s.trace for s in batches}


async def test_no_span_holds_a_user_a_device_an_id_of_a_client_or_a_body(
    make_stack: MakeStack, collector: Collector
) -> None:
    stack = await make_stack(gateways=1, workers=1, environment={"CHAT_TRACE_ENDPOINT": collector.url, **ALL})
    async with Cast(stack) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender, recipient = await cast.online(alice, "pocketphone"), await cast.online(bob, "deskphone")
        await sender.send({"type": "send", "id": "clients-own-id", "to": bob, "body": "a secret of theirs"})
        await recipient.expect("message")
        await recipient.send({"type": "read_ack", "peer": alice, "seq": 1})
        await sender.expect("sent")
        await sender.expect("receipt")
        await until_seen(collector, conversation_id(alice, bob).hex(), traces=2, last=7 + 5)
    told = repr(collector.spans)
    assert [word for word in (alice, bob, "pocketphone", "deskphone", "clients-own-id", "secret") if word in told] == []


async def test_messages_flow_while_the_collector_is_away(make_stack: MakeStack) -> None:
    async with Collector() as collector:
        url = collector.url
    stack = await make_stack(gateways=1, workers=1, environment={"CHAT_TRACE_ENDPOINT": url, **ALL})
    async with Cast(stack) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender, recipient = await cast.online(alice), await cast.online(bob)
        for number in range(20):
            await sender.send({"type": "send", "id": f"c{number}", "to": bob, "body": "hi"})
            await recipient.expect("message")
