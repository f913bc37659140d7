"""One socket's way out."""

import asyncio
import gc
import weakref

import pytest
from chatcore.errors import Close
from gateway.connection import HIGH_WATER_BYTES, Connection, Outlet, ws_frame
from gateway.session import Session

from tests.gateway.transports import FakeTransport
from tests.gateway.waiting import until


def make(transport: FakeTransport, *, max_bytes: int = 1 << 20, max_frames: int = 4096) -> Connection:
    session = Session(rate=1, burst=1, max_in_flight=1, now=0.0, expires_at_s=0.0)
    connection = Connection(
        number=1,
        user="alice",
        device="phone",
        session=session,
        outlet=Outlet(),
        max_bytes=max_bytes,
        max_frames=max_frames,
        on_slow=lambda: None,
        now=0.0,
    )
    connection.open(transport, b"welcome")
    transport.written.clear()
    return connection


async def test_frames_of_one_turn_are_one_write() -> None:
    transport = FakeTransport()
    connection = make(transport)
    for frame in (b"a", b"b", b"c"):
        connection.push(frame)
    assert transport.written == []
    await until(lambda: transport.written)
    assert transport.written == [b"\x81\x01a\x81\x01b\x81\x01c"]


@pytest.mark.parametrize(("size", "header"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_frame_of_any_size_has_the_header_of_rfc_6455(size: int, header: int) -> None:
    framed = ws_frame(0x81, b"x" * size)
    assert len(framed) == size + header
    length = framed[1] if header == 2 else int.from_bytes(framed[2:header], "big")
    assert length == size


async def test_what_came_before_the_upgrade_follows_welcome() -> None:
    transport = FakeTransport()
    connection = make(FakeTransport())
    connection._transport = None
    connection.push(b"early")
    await asyncio.sleep(0)
    connection.open(transport, b"welcome")
    assert b"".join(transport.written) == ws_frame(0x81, b"welcome") + ws_frame(0x81, b"early")


async def test_a_slow_reader_gets_the_rest_in_order_when_it_reads_on() -> None:
    transport = FakeTransport()
    connection = make(transport)
    transport.room = 1000
    frames = [bytes([n]) * 10_000 for n in range(20)]
    for frame in frames:
        connection.push(frame)
    await until(lambda: transport.buffered > HIGH_WATER_BYTES)
    held = len(b"".join(transport.written))
    assert held < 60_000
    transport.drain()
    await until(lambda: connection.queued_bytes == 0)
    assert b"".join(transport.written) == b"".join(ws_frame(0x81, frame) for frame in frames)


@pytest.mark.parametrize("bounds", [{"max_bytes": 100_000}, {"max_frames": 8}])
async def test_past_a_bound_the_queue_is_dropped_and_4408_is_the_last_word(bounds: dict[str, int]) -> None:
    transport = FakeTransport()
    connection = make(transport, **bounds)
    transport.room = 0
    for _ in range(30):
        connection.push(b"x" * 10_000)
        await asyncio.sleep(0)
    assert connection.close_code == Close.TOO_SLOW
    assert connection.queued_bytes == 0
    assert transport.written[-1][2:4] == (4408).to_bytes(2, "big")
    assert len(b"".join(transport.written)) < 60_000


async def test_a_page_that_left_the_queue_is_told_once_and_only_then() -> None:
    transport = FakeTransport()
    connection = make(transport)
    transport.room = 0
    told: list[int] = []
    connection.push(b"x" * 20_000)
    connection.push(b"page", lambda: told.append(1))
    await until(lambda: transport.written)
    assert told == []
    transport.drain()
    await until(lambda: told)
    assert told == [1]
    assert transport.written[-1] == ws_frame(0x81, b"page")


async def test_nothing_is_written_after_a_close() -> None:
    transport = FakeTransport()
    connection = make(transport)
    connection.push(b"lost")
    connection.close(Close.REPLACED, "replaced")
    connection.push(b"lost")
    connection.pong(b"lost")
    connection.close(Close.REVOKED, "again")
    await asyncio.sleep(0)
    assert transport.written == [ws_frame(0x88, (4409).to_bytes(2, "big") + b"replaced")]


async def test_a_close_that_follows_an_error_lets_the_error_out_first() -> None:
    transport = FakeTransport()
    connection = make(transport)
    connection.push(b"error")
    connection.close_soon(Close.POLICY, "enough")
    await until(lambda: connection.close_code)
    assert b"".join(transport.written).startswith(ws_frame(0x81, b"error") + b"\x88")


async def test_a_close_that_waits_for_what_is_queued_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connection.CLOSE_S", 0.05)
    transport = FakeTransport()
    connection = make(transport)
    transport.room = 0
    connection.push(b"x" * 20_000)
    connection.push(b"never leaves")
    connection.close_soon(Close.DRAINING, "draining")
    await until(lambda: transport.aborted)
    assert connection.close_code == Close.DRAINING
    assert connection.queued_bytes == 0


async def test_a_peer_that_pings_and_reads_nothing_does_not_fill_the_transport() -> None:
    transport = FakeTransport()
    connection = make(transport)
    transport.room = 0
    for _ in range(10_000):
        connection.pong(b"x" * 125)
    assert transport.buffered < HIGH_WATER_BYTES + 200


async def test_a_connection_is_no_reference_cycle() -> None:
    connection = make(FakeTransport())
    connection.push(b"x", connection.ping)
    connection.finish()
    await asyncio.sleep(0.05)
    gone = weakref.ref(connection)
    gc.disable()
    try:
        del connection
        assert gone() is None
    finally:
        gc.enable()
