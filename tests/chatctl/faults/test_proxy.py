"""The proxy on real sockets: what each trouble does to a line, and that a healed line is as good as new."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from chatctl.faults.proxy import Proxy
from chatctl.faults.toxics import (
    Bandwidth,
    Direction,
    Hears,
    Latency,
    LimitData,
    LoseAnswer,
    ResetPeer,
    Slicer,
    Timeout,
    Toxic,
)
from chatctl.stack import ports

DEADLINE_S = 20.0
BIG = bytes(range(256)) * 4 * 1024
UP, DOWN = Direction.UP, Direction.DOWN

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets, until its client is done."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.reading = asyncio.Event()
        self.reading.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self.reading.wait()
                data = await reader.read(65_536)
                if not data:
                    break
                self.heard += data
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


class Greeter(Echo):
    """A server that says hello and is done."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()


Connect = Callable[[], Awaitable[Line]]


@asynccontextmanager
async def proxied(echo: Echo | None = None, *, seed: int = 1) -> AsyncIterator[tuple[Proxy, Connect]]:
    server = await asyncio.start_server((echo or Echo()).serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    [port] = ports.private(1)
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Line:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        return reader, writer

    async with (
        asyncio.timeout(DEADLINE_S),
        Proxy("line", port=port, upstream=lambda: address, random=Random(seed)) as p,
    ):
        try:
            yield p, connect
        finally:
            for writer in opened:
                writer.close()
            server.close()


async def echoed(line: Line, data: bytes) -> bytes:
    reader, writer = line
    writer.write(data)
    return await reader.readexactly(len(data))


async def test_a_whole_line_carries_everything_in_order_and_the_end_after_it() -> None:
    async with proxied() as (_, connect):
        reader, writer = await connect()
        writer.write(BIG)
        writer.write_eof()
        assert await reader.read(-1) == BIG


async def test_a_server_that_speaks_first_is_heard() -> None:
    async with proxied(Greeter()) as (_, connect):
        for _ in range(20):
            reader, _writer = await connect()
            assert await reader.read(-1) == b"hello"


@pytest.mark.parametrize(
    "toxic",
    [
        Latency(direction=UP, latency_s=0.02, jitter_s=0.02),
        Latency(direction=DOWN, latency_s=0.02),
        Bandwidth(direction=UP, bytes_per_s=20_000_000),
        Slicer(direction=DOWN, average_bytes=5_000, variation_bytes=4_000),
        LimitData(direction=UP, limit_bytes=len(BIG) * 2),
        ResetPeer(direction=UP, after_s=DEADLINE_S),
        Timeout(direction=UP, toxicity=0.0),
    ],
)
async def test_a_bad_line_loses_and_reorders_nothing(toxic: Toxic) -> None:
    async with proxied() as (proxy, connect):
        line = await connect()
        with proxy.afflicted(toxic):
            assert await echoed(line, BIG) == BIG
        assert await echoed(line, BIG) == BIG


@pytest.mark.parametrize("direction", [UP, DOWN])
async def test_what_a_cut_cable_holds_back_arrives_when_it_is_mended(direction: Direction) -> None:
    echo = Echo()
    async with proxied(echo) as (proxy, connect):
        reader, writer = await connect()
        assert await echoed((reader, writer), b"before") == b"before"
        with proxy.afflicted(Timeout(direction=direction)):
            writer.write(b"during")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
            assert (b"during" in echo.heard) == (direction == DOWN)
        assert await reader.readexactly(6) == b"during"


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def test_a_cut_cable_does_not_tell_that_the_other_end_closed() -> None:
    async with proxied() as (proxy, connect):
        reader, writer = await connect()
        with proxy.afflicted(Timeout(direction=UP), Timeout(direction=DOWN)):
            writer.write_eof()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
        assert await reader.read(1) == b""


def _asking(request: bytes) -> Callable[[], Hears]:
    return lambda: lambda piece: request in piece


@pytest.mark.parametrize(
    "toxic",
    [
        Timeout(direction=UP, timeout_s=0.05),
        ResetPeer(direction=UP),
        ResetPeer(direction=DOWN),
        LoseAnswer(direction=UP, listener=_asking(b"data")),
    ],
)
async def test_a_connection_that_is_given_up_is_reset_at_both_ends_and_the_next_one_works(toxic: Toxic) -> None:
    async with proxied() as (proxy, connect):
        reader, writer = await connect()
        with proxy.afflicted(toxic):
            writer.write(b"data")
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        assert await echoed(await connect(), b"again") == b"again"
        await until(lambda: proxy.connections == 1)


async def test_a_lost_answer_is_one_to_a_request_that_was_heard_and_to_no_other() -> None:
    echo = Echo()
    async with proxied(echo) as (proxy, connect):
        line = await connect()
        with proxy.afflicted(LoseAnswer(direction=UP, listener=_asking(b"COMMIT"))):
            assert await echoed(line, b"SELECT") == b"SELECT"
            line[1].write(b"INSERT; COMMIT")
            with pytest.raises(ConnectionResetError):
                await line[0].read(1)
        assert bytes(echo.heard) == b"SELECTINSERT; COMMIT"


async def test_limited_data_passes_to_the_byte() -> None:
    echo = Echo()
    async with proxied(echo) as (proxy, connect):
        _, writer = await connect()
        with proxy.afflicted(LimitData(direction=UP, limit_bytes=10)):
            writer.write(b"0123456789abcdef")
            await until(lambda: proxy.connections == 0)
        assert b"0123456789".startswith(bytes(echo.heard))


async def test_a_proxy_that_is_down_resets_what_is_open_and_refuses_what_comes() -> None:
    async with proxied() as (proxy, connect):
        line = await connect()
        assert await echoed(line, b"x") == b"x"
        async with proxy.down():
            with pytest.raises(ConnectionResetError):
                await line[0].read(1)
            with pytest.raises(ConnectionRefusedError):
                await connect()
        assert await echoed(await connect(), b"x") == b"x"


async def test_a_server_that_is_not_there_resets_its_client() -> None:
    [port, nobody] = ports.private(2)
    async with Proxy("line", port=port, upstream=lambda: ("127.0.0.1", nobody), random=Random(1)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()


async def sent_until_told_to_wait(writer: asyncio.StreamWriter) -> int:
    sent = 0
    while sent < 256 * len(BIG):
        writer.write(BIG)
        sent += len(BIG)
        try:
            await asyncio.wait_for(writer.drain(), 1.0)
        except TimeoutError:
            break
    return sent


async def test_a_reader_that_stops_makes_its_sender_wait_instead_of_filling_the_proxy() -> None:
    echo = Echo()
    async with proxied(echo) as (_, connect):
        reader, writer = await connect()
        echo.reading.clear()
        sent = await sent_until_told_to_wait(writer)
        assert sent < 64 * len(BIG)
        echo.reading.set()
        assert await reader.readexactly(sent) == BIG * (sent // len(BIG))


async def test_a_toxic_afflicts_the_share_of_connections_that_it_names() -> None:
    async with proxied() as (proxy, connect):
        with proxy.afflicted(ResetPeer(direction=UP, toxicity=0.5)):
            outcomes = []
            for _ in range(40):
                try:
                    outcomes.append(await echoed(await connect(), b"x") == b"x")
                except (ConnectionResetError, asyncio.IncompleteReadError):
                    outcomes.append(False)
        assert 8 < sum(outcomes) < 32
