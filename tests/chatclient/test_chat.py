"""The shell, over real sockets against a fake gateway."""

import asyncio
import base64
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import orjson
import pytest
from aiohttp import web
from chatclient import (
    Chat,
    ChatClosed,
    Connected,
    ConnectionEnded,
    Disconnected,
    EpochChanged,
    Event,
    MemoryState,
    Message,
    Presence,
    ProtocolBroken,
    Receipt,
    SendRefused,
    Sent,
    SqliteState,
    Typing,
    connect,
)

from tests.chatclient.fake_server import FakeServer, serving
from tests.chatclient.model_server import ModelServer

DEADLINE_S = 20
E = TypeVar("E", bound=Event)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with serving(ModelServer()) as gateway:
        yield gateway


async def until(chat: Chat, kind: type[E], test: Callable[[E], bool] = lambda _: True) -> E:
    async with asyncio.timeout(DEADLINE_S):
        async for event in chat:
            if isinstance(event, kind) and test(event):
                return event
    raise AssertionError("the chat ended")


async def condition(test: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not test():
            await asyncio.sleep(0.01)


async def test_a_send_returns_what_sent_said(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="phone") as chat:
        sent = await chat.send("bob", "hi")
    assert (sent.seq, sent.peer) == (1, "bob")
    assert server.model.log("alice", "bob")[0]["body"] == "hi"


async def test_a_message_becomes_delivered_when_the_application_takes_it_and_read_when_it_says_so(
    server: FakeServer,
) -> None:
    async with connect(server.url, "alice", device="a") as alice, connect(server.url, "bob", device="b") as bob:
        await asyncio.gather(alice.synced(), bob.synced())
        await alice.send("bob", "hi")
        assert server.model.delivered("bob", "alice") == 0
        message = await until(bob, Message)
        assert (message.sender, message.body, message.seq) == ("alice", "hi", 1)
        assert (await until(alice, Receipt)).delivered == 1
        bob.read("alice", 1)
        assert (await until(alice, Receipt)).read == 1
        assert alice.marks("bob").peer_read == 1


async def test_what_was_missed_comes_once_and_in_order(server: FakeServer) -> None:
    server.model.known.add(("bob", "b"))
    for number in range(20):
        server.model.post("alice", "bob", f"{number}")
    async with connect(server.url, "bob", device="b") as bob:
        seqs = [(await until(bob, Message)).seq for _ in range(20)]
        assert seqs == list(range(1, 21))
    assert server.model.cursors["bob", "b", "alice"] == 20


async def test_closing_writes_the_acknowledgements_that_wait(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.send("bob", "hi")
    await condition(lambda: server.model.cursors.get(("alice", "a", "bob")) == 1)


async def test_a_cut_connection_comes_back_and_a_message_sent_meanwhile_arrives(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.synced()
        server.cut_all()
        await until(alice, Disconnected)
        async with asyncio.timeout(DEADLINE_S):
            assert (await alice.send("bob", "after all")).seq == 1


async def test_a_send_without_an_answer_is_sent_again_on_the_next_connection_and_stored_once(
    server: FakeServer,
) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.synced()
        server.muted = True
        sending = asyncio.create_task(alice.send("bob", "hi"))
        await condition(lambda: len(alice.unsent()) == 1)
        server.muted = False
        server.cut_all()
        async with asyncio.timeout(DEADLINE_S):
            assert (await sending).seq == 1
    assert len(server.model.log("alice", "bob")) == 1


async def test_any_gateway_will_do() -> None:
    model = ModelServer()
    async with serving(model) as one, serving(model) as two:
        async with connect([one.url, two.url], "alice", device="a") as alice:
            await alice.synced()
            first = one if one.handshakes else two
            await first.close_all(1012)
            await until(alice, Disconnected)
            await until(alice, Connected)
        assert one.handshakes
        assert two.handshakes


async def test_goaway_leads_to_the_next_gateway() -> None:
    model = ModelServer()
    async with serving(model) as one, serving(model) as two:
        async with connect([one.url, two.url], "alice", device="a") as alice:
            await alice.synced()
            (line,) = model.lines
            line.out.append({"type": "goaway", "reason": "draining", "reconnect_after_ms": 50})
            one.push()
            two.push()
            await until(alice, Disconnected)
            await until(alice, Connected)
        assert one.handshakes
        assert two.handshakes


async def test_the_outbox_survives_a_restart_and_goes_out_in_order(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    async with connect("http://127.0.0.1:1", "alice", device="a", state=SqliteState(path)) as alice:
        sends = [asyncio.create_task(alice.send("bob", f"{number}")) for number in range(5)]
        await condition(lambda: len(alice.unsent()) == 5)
    for send in sends:
        with pytest.raises(ChatClosed):
            await send
    async with connect(server.url, "alice", device="a", state=SqliteState(path)) as alice:
        for number in range(5):
            assert (await until(alice, Sent)).seq == number + 1
    assert [message["body"] for message in server.model.log("alice", "bob")] == ["0", "1", "2", "3", "4"]


async def test_a_restart_yields_nothing_again(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "bob.db"
    server.model.known.add(("bob", "b"))
    server.model.post("alice", "bob", "one")
    async with connect(server.url, "bob", device="b", state=SqliteState(path)) as bob:
        assert (await until(bob, Message)).seq == 1
        bob.read("alice", 1)
    server.model.post("alice", "bob", "two")
    async with connect(server.url, "bob", device="b", state=SqliteState(path)) as bob:
        assert (await until(bob, Message)).seq == 2
        assert bob.marks("alice").read == 1
    assert server.handshakes[1].query["since"] == "t"


async def test_one_state_file_serves_one_program(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "s.db")
    state.write([])
    with pytest.raises(sqlite3.OperationalError):
        SqliteState(tmp_path / "s.db")
    state.close()


async def test_a_final_error_is_raised_by_its_name(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.send("bob", "hi", message_id="c1")
        with pytest.raises(SendRefused) as caught:
            await alice.send("bob", "other", message_id="c1")
    assert caught.value.code == "id_conflict"


@pytest.mark.parametrize(
    ("to", "body", "code"),
    [
        ("bob", "", "invalid_frame"),
        ("bob", "\ud800", "invalid_frame"),
        ("bob", "x" * 16_385, "too_large"),
        ("bob", "\0" * 16_384, "too_large"),
        ("b b", "hi", "invalid_recipient"),
        ("", "hi", "invalid_recipient"),
    ],
)
async def test_what_a_server_would_refuse_is_refused_before_it_is_sent(
    server: FakeServer, to: str, body: str, code: str
) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        with pytest.raises(SendRefused) as caught:
            await alice.send(to, body)
    assert caught.value.code == code


async def test_a_refused_handshake_ends_the_chat_with_the_servers_code(server: FakeServer) -> None:
    body = {"error": {"code": "too_many_devices", "message": ""}}
    server.refusals.append(web.json_response(body, status=403))
    async with connect(server.url, "alice", device="a") as alice:
        with pytest.raises(ConnectionEnded) as caught:
            await alice.synced()
        with pytest.raises(ConnectionEnded):
            await alice.send("bob", "hi")
        with pytest.raises(ConnectionEnded):
            await anext(alice)
    assert caught.value.reason == "too_many_devices"


async def test_a_gateway_that_is_not_ready_is_tried_again(server: FakeServer) -> None:
    body = {"error": {"code": "not_ready", "message": ""}}
    server.refusals.append(web.json_response(body, status=503, headers={"Retry-After": "0"}))
    async with connect(server.url, "alice", device="a") as alice:
        await until(alice, Disconnected, lambda event: event.reason == "not_ready")
        await alice.synced()


@pytest.mark.parametrize("code", [1007, 1008, 1009, 4401, 4403])
async def test_close_codes_that_ask_for_a_change_end_the_chat(server: FakeServer, code: int) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.synced()
        await server.close_all(code)
        with pytest.raises(ConnectionEnded):
            await until(alice, Message)


async def test_an_expired_token_is_replaced_where_there_is_a_source_of_them(server: FakeServer) -> None:
    async def token() -> str:
        return "alice"

    async with connect(server.url, token, device="a") as alice:
        await alice.synced()
        await server.close_all(4401)
        await until(alice, Disconnected)
        await until(alice, Connected)


async def test_a_token_is_renewed_before_it_expires(server: FakeServer) -> None:
    def make() -> str:
        claims = base64.urlsafe_b64encode(orjson.dumps({"exp": int(time.time()) + 1})).decode().rstrip("=")
        return f"alice.{claims}.signature"

    async def token() -> str:
        return make()

    async with connect(server.url, token, device="a") as alice:
        await alice.synced()
        await condition(lambda: any(frame["type"] == "auth" for frame in server.model.received))


async def test_history_and_conversations_come_in_pages(server: FakeServer) -> None:
    for number in range(5):
        server.model.post("alice", "bob", f"{number}")
    async with connect(server.url, "bob", device="b") as bob:
        newest = await bob.history("alice", limit=2)
        older = await bob.history("alice", before=newest.messages[0].seq, limit=2)
        newer = await bob.history("alice", after=0, limit=10)
        page = await bob.conversations()
    assert [message.seq for message in newest.messages] == [4, 5]
    assert [message.seq for message in older.messages] == [2, 3]
    assert newest.more
    assert not newer.more
    assert newest.messages[0].state == "created"
    assert [(item.peer, item.last) for item in page.items] == [("alice", 5)]


async def test_presence_is_subscribed_again_on_every_connection_and_typing_arrives(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="a") as alice, connect(server.url, "bob", device="b") as bob:
        await asyncio.gather(alice.synced(), bob.synced())
        alice.subscribe(["bob"])
        assert (await until(alice, Presence)).online
        bob.typing("alice")
        assert (await until(alice, Typing)).peer == "bob"
        server.cut_all()
        await until(alice, Disconnected)
        assert (await until(alice, Presence)).user == "bob"
        alice.unsubscribe(["bob"])
        await condition(lambda: not server.model.watchers)


async def test_a_new_epoch_drops_what_was_known_and_sends_the_outbox_again(server: FakeServer) -> None:
    state = MemoryState()
    async with connect(server.url, "alice", device="a", state=state) as alice:
        await alice.send("bob", "before")
        server.model.logs.clear()
        server.model.cursors.clear()
        server.model.epoch = "e2"
        server.muted = True
        sending = asyncio.create_task(alice.send("bob", "kept"))
        await condition(lambda: len(alice.unsent()) == 1)
        server.muted = False
        server.cut_all()
        await until(alice, EpochChanged)
        async with asyncio.timeout(DEADLINE_S):
            assert (await sending).seq == 1
    assert [peer.cursor for peer in state.load().peers] == [1]


async def test_a_malformed_frame_ends_the_chat_by_name(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.synced()
        server.model.lines[0].out.append({"type": "message", "peer": "bob"})
        server.push()
        with pytest.raises(ProtocolBroken):
            await until(alice, Message)


async def test_an_application_that_takes_nothing_acknowledges_nothing_and_stops_the_reading() -> None:
    model = ModelServer(page=50)
    model.known.add(("bob", "b"))
    for number in range(300):
        model.post("alice", "bob", f"{number}")
    async with serving(model) as server, connect(server.url, "bob", device="b", events_max=10) as bob:
        await condition(lambda: bool(server.handshakes))
        assert not [frame for frame in model.received if frame["type"] == "delivery_ack"]
        seqs = [(await until(bob, Message)).seq for _ in range(300)]
        assert seqs == list(range(1, 301))


async def test_cancelling_a_send_leaves_the_message_in_the_outbox(server: FakeServer) -> None:
    async with connect(server.url, "alice", device="a") as alice:
        await alice.synced()
        server.muted = True
        sending = asyncio.create_task(alice.send("bob", "hi"))
        await condition(lambda: len(alice.unsent()) == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert [message.body for message in alice.unsent()] == ["hi"]


async def test_nothing_of_a_closed_chat_goes_on(server: FakeServer) -> None:
    before = asyncio.all_tasks()
    async with connect(server.url, "alice", device="a") as alice:
        await alice.synced()
    assert not [task for task in asyncio.all_tasks() - before if task.get_name().startswith("chatclient")]
    with pytest.raises(ChatClosed):
        await alice.history("bob")
    async for _ in alice:
        pass  # what had come is still handed out, and then the iteration ends
