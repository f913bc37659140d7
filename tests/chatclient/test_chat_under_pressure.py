"""What the shell owes when the application, the socket or a gateway has much to do: it never locks itself up."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from chatclient import Message, connect
from chatclient.wire import Address, open_wire

from tests.chatclient.fake_server import FakeServer, serving
from tests.chatclient.model_server import ModelServer

DEADLINE_S = 10


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with serving(ModelServer()) as gateway:
        yield gateway


def missed(server: FakeServer, count: int) -> None:
    server.model.known.add(("bob", "b"))
    for number in range(count):
        server.model.post("alice", "bob", f"{number}")


async def test_an_application_that_answers_each_message_in_its_loop_gets_through_more_than_its_queue_holds(
    server: FakeServer,
) -> None:
    missed(server, 30)
    async with connect(server.url, "bob", device="b", events_max=4) as bob, asyncio.timeout(DEADLINE_S):
        echoed = 0
        async for event in bob:
            if isinstance(event, Message):
                await bob.send("alice", f"echo of {event.seq}")
                echoed += 1
            if echoed == 30:
                break
    assert len(server.model.log("alice", "bob")) == 60


async def test_a_request_made_in_the_loop_is_answered_while_the_queue_is_full(server: FakeServer) -> None:
    missed(server, 30)
    async with connect(server.url, "bob", device="b", events_max=4) as bob, asyncio.timeout(DEADLINE_S):
        async for event in bob:
            if isinstance(event, Message):
                page = await bob.history("alice", limit=5)
                assert len(page.messages) == 5
                break


async def test_a_ping_read_after_the_connection_broke_is_a_lost_connection_and_no_error() -> None:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat.v1",))
        await socket.prepare(request)
        await socket.ping()
        assert request.transport is not None
        request.transport.close()
        return socket

    app = web.Application()
    app.router.add_get("/v1/ws", handle)
    async with TestServer(app) as gateway, asyncio.timeout(DEADLINE_S):
        wire = await open_wire(Address(str(gateway.make_url("")), "phone", None), "alice")
        below = wire._socket.get_extra_info("socket")
        while below.fileno() != -1:
            await asyncio.sleep(0.01)
        heard: list[bool] = []
        while await wire.read(lambda frame: None, lambda: heard.append(True)):
            await asyncio.sleep(0)
        assert wire.close_code is None
        await wire.close()
    assert heard == [True]


async def test_devices_that_know_the_same_gateways_spread_over_them() -> None:
    model = ModelServer()
    async with serving(model) as one, serving(model) as two, asyncio.timeout(DEADLINE_S):
        urls = [one.url, two.url]
        for number in range(100):  # all on one side: once in 2 ** 99 runs
            async with connect(urls, "alice", device=f"d{number}") as chat:
                await chat.synced()
            if one.handshakes and two.handshakes:
                break
    assert one.handshakes
    assert two.handshakes
