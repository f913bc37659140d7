"""The terminal chat, driven by keys through a pipe, against a fake gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from chatclient import Chat, ConnectionEnded, MemoryState, connect
from chatctl import chat
from chatctl.chat_screen import Screen
from chatctl.chat_view import Tick, tick
from chatctl.failure import Failure
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from tests.chatclient.fake_server import FakeServer, serving
from tests.chatclient.model_server import ModelServer

DEADLINE_S = 20
PAGE_UP, LEAVE = "\x1b[5~", "\x03"


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with serving(ModelServer()) as gateway:
        yield gateway


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield pipe


@asynccontextmanager
async def showing(chat: Chat, keys: PipeInput) -> AsyncIterator[Screen]:
    screen = Screen(chat, "alice", "bob")
    running = asyncio.create_task(screen.run())
    await until(lambda: screen.app.is_running)
    yield screen
    keys.send_text(LEAVE)
    async with asyncio.timeout(DEADLINE_S):
        await running


async def until(test: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not test():
            await asyncio.sleep(0.01)


def ticks(screen: Screen) -> list[Tick | None]:
    return [tick(screen.view, line) for line in screen.view.lines]


async def test_what_is_typed_is_sent_and_earns_its_ticks(server: FakeServer, keys: PipeInput) -> None:
    async with (
        connect(server.url, "alice", device="terminal") as alice,
        connect(server.url, "bob", device="phone") as bob,
        showing(alice, keys) as screen,
    ):
        await until(lambda: screen.view.connection == "connected")
        keys.send_text("hello\r")
        await until(lambda: ticks(screen) == [Tick.SENT])
        async for event in bob:
            if getattr(event, "body", "") == "hello":
                break
        await until(lambda: ticks(screen) == [Tick.DELIVERED])
        bob.read("alice", 1)
        await until(lambda: ticks(screen) == [Tick.READ])
        assert {"type": "typing", "to": "bob"} in server.model.received


async def test_what_the_peer_writes_is_shown_and_read(server: FakeServer, keys: PipeInput) -> None:
    async with connect(server.url, "alice", device="terminal") as alice, showing(alice, keys) as screen:
        await until(lambda: screen.view.connection == "connected")
        server.model.post("bob", "alice", "hi alice")
        server.push()
        await until(lambda: [line.body for line in screen.view.lines] == ["hi alice"])
        await until(lambda: server.model.reads["alice", "bob"] == 1)


async def test_page_up_asks_for_older_messages(server: FakeServer, keys: PipeInput) -> None:
    for number in range(120):
        server.model.post("bob", "alice", f"{number}")
    async with connect(server.url, "alice", device="terminal") as alice, showing(alice, keys) as screen:
        await until(lambda: len(screen.view.lines) >= 50 and screen.view.connection == "connected")
        while screen.view.first_seq != 1:
            keys.send_text(PAGE_UP)
            back = screen.view.back
            await until(lambda back=back: screen.view.back != back or screen.view.first_seq == 1)  # type: ignore[misc] # a default argument's type is not inferred
        await until(lambda: [line.seq for line in screen.view.lines] == list(range(1, 121)))


async def test_a_message_written_without_a_connection_has_a_clock_and_goes_out_later(
    server: FakeServer, keys: PipeInput
) -> None:
    async with connect(server.url, "alice", device="terminal") as alice, showing(alice, keys) as screen:
        await until(lambda: screen.view.connection == "connected")
        server.muted = True
        keys.send_text("first\rsecond\r")
        await until(lambda: ticks(screen) == [Tick.WAITING, Tick.WAITING])
        server.muted = False
        server.cut_all()
        await until(lambda: screen.view.connection.startswith("reconnecting"))
        await until(lambda: ticks(screen) == [Tick.SENT, Tick.SENT])
    assert [message["body"] for message in server.model.log("alice", "bob")] == ["first", "second"]


async def test_a_session_that_the_server_ends_ends_the_screen(server: FakeServer, keys: PipeInput) -> None:
    async with connect(server.url, "alice", device="terminal") as alice:
        screen = Screen(alice, "alice", "bob")
        running = asyncio.create_task(screen.run())
        await until(lambda: screen.view.connection == "connected")
        await server.close_all(4403)
        with pytest.raises(ConnectionEnded):
            async with asyncio.timeout(DEADLINE_S):
                await running


async def test_the_command_leaves_with_0_and_keeps_what_was_not_sent(
    keys: PipeInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.send_text("later\r" + LEAVE)
    path = tmp_path / "state" / "alice.db"
    code = await asyncio.to_thread(
        chat.main, "alice", "bob", urls=["http://127.0.0.1:1"], token=lambda: "alice", state_path=path
    )
    assert code == 0
    assert "1 not sent yet; the next start sends them" in capsys.readouterr().out


async def test_the_command_fails_with_the_servers_reason(
    server: FakeServer, keys: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusals.append(web.json_response({"error": {"code": "revoked", "message": ""}}, status=403))
    code = await asyncio.to_thread(chat.main, "alice", "bob", urls=[server.url], token=lambda: "alice")
    assert code == 1
    assert "revoked" in capsys.readouterr().err


def test_a_state_file_that_another_chat_uses_is_told_plainly(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    state = chat._open_state(path)
    state.write([])
    with pytest.raises(Failure, match="cannot be used"):
        chat.main("alice", "bob", urls=["http://127.0.0.1:1"], token=lambda: "alice", state_path=path)
    state.close()


def test_without_a_path_the_state_is_in_memory() -> None:
    assert isinstance(chat._open_state(None), MemoryState)
