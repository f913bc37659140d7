"""How a client of Redis is made. A scripted server stands in for Redis, since a real one loses no answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatcore.errors import StoreUnavailable
from chatcore.redis_client import PackedInC, answered, close_redis, make_redis

SHORT_S = 0.05


class Server:
    """Answers OK to the commands of connecting, and does to the others what a test says."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.setup: list[list[bytes]] = []
        self.connections = 0
        self.then = "answer"
        """`answer`, `close` without an answer, `wait` before the answer."""
        self.go_on = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self.go_on.set()
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while header := await reader.readline():
                await self._do(await self._command(reader, header), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _command(self, reader: asyncio.StreamReader, header: bytes) -> list[bytes]:
        words = []
        for _ in range(int(header[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        return words

    async def _do(self, words: list[bytes], writer: asyncio.StreamWriter) -> None:
        if words[0] in {b"CLIENT", b"HELLO", b"SELECT"}:
            self.setup.append(words)
            writer.write(b"+OK\r\n")
            return
        self.commands.append(words)
        if self.then == "close":
            raise ConnectionError
        if self.then == "wait":
            await self.go_on.wait()
        writer.write(b"$%d\r\n%s\r\n" % (len(words[1]), words[1]))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    yield one
    await one.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    one = make_redis(f"redis://127.0.0.1:{await server.start()}/0", name="test", connections=1)
    yield one
    await close_redis(one)


async def test_a_command_whose_answer_was_lost_is_not_repeated(server: Server, client: Any) -> None:
    server.then = "close"
    with pytest.raises(StoreUnavailable):
        await answered(client.execute_command("ECHO", "a"))
    assert server.commands == [[b"ECHO", b"a"]]


async def test_a_pipeline_whose_answers_were_lost_is_not_repeated(server: Server, client: Any) -> None:
    server.then = "close"
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ECHO", "a")
    with pytest.raises(StoreUnavailable):
        await answered(pipeline.execute())
    assert server.commands == [[b"ECHO", b"a"]]


async def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_ones(server: Server, client: Any) -> None:
    server.then = "wait"
    with pytest.raises(StoreUnavailable):
        await answered(client.execute_command("ECHO", "late"), within_s=SHORT_S)
    server.then = "answer"
    server.go_on.set()
    assert await answered(client.execute_command("ECHO", "next")) == b"next"
    assert server.connections == 2


async def test_after_a_lost_connection_the_next_command_connects_again(server: Server, client: Any) -> None:
    server.then = "close"
    with pytest.raises(StoreUnavailable):
        await answered(client.execute_command("ECHO", "a"))
    server.then = "answer"
    assert await answered(client.execute_command("ECHO", "b")) == b"b"


async def test_a_connection_begins_without_chatter(server: Server, client: Any) -> None:
    await answered(client.execute_command("ECHO", "a"))
    assert [words[:2] for words in server.setup] == [[b"CLIENT", b"SETNAME"]]


async def test_more_callers_than_connections_are_told_and_do_not_wait(server: Server, client: Any) -> None:
    server.then = "wait"
    first = asyncio.create_task(answered(client.execute_command("ECHO", "a")))
    async with asyncio.timeout(20):
        while not server.commands:
            await asyncio.sleep(0.01)
    with pytest.raises(StoreUnavailable):
        await answered(client.execute_command("ECHO", "b"))
    server.go_on.set()
    assert await first == b"a"


async def test_a_cancelled_caller_is_cancelled_and_not_unavailable(server: Server, client: Any) -> None:
    server.then = "wait"
    caller = asyncio.create_task(answered(client.execute_command("ECHO", "a")))
    async with asyncio.timeout(20):
        while not server.commands:
            await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_nobody_there_is_unavailable() -> None:
    client = make_redis("redis://127.0.0.1:1/0", name="test")
    with pytest.raises(StoreUnavailable):
        await answered(client.ping())
    await close_redis(client)


async def test_our_own_mistakes_are_no_failure_of_the_store() -> None:
    async def mistaken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await answered(mistaken())


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize(
    "command",
    [
        ("ECHO", "naïve"),
        ("ECHO", b"\0\r\n$1\r\n"),
        ("SET", "k", 5, 0.25, -1),
        ("CLIENT SETNAME", "a b"),
        ("ECHO", b"x" * 70_000),
        (b"ECHO", bytearray(b"a"), memoryview(b"b")),
    ],
)
async def test_commands_are_packed_as_redis_py_packs_them(scheme: str, command: tuple[Any, ...]) -> None:
    pool: Any = make_redis(f"{scheme}://127.0.0.1:1/0", name="test").connection_pool
    connection = pool.make_connection()
    assert isinstance(connection, PackedInC)
    theirs = super(PackedInC, connection).pack_command(*command)  # type: ignore[misc]  # of the class beside it
    assert b"".join(connection.pack_command(*command)) == b"".join(theirs)


async def test_a_part_that_is_no_value_is_refused_before_anything_is_sent(server: Server, client: Any) -> None:
    with pytest.raises(StoreUnavailable):
        await answered(client.execute_command("ECHO", None))
    assert server.commands == []
