"""One device of the load: what it acknowledges, when it is ready, what a refusal tells it."""

import asyncio
from typing import Any

import orjson
import pytest
from chatctl.bench.device import Device, Refused

from tests.chatctl.bench.test_wire import server_frame

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Line(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.written.append(b"aborted")


def connected() -> tuple[Device, Line]:
    device, line = Device(user="bob", request=b"GET"), Line()
    device.connection_made(line)
    assert line.written.pop() == b"GET"
    return device, line


def frames(*values: dict[str, Any]) -> bytes:
    return b"".join(server_frame(orjson.dumps(value)) for value in values)


def message(seq: int) -> dict[str, Any]:
    return {"type": "message", "peer": "alice", "seq": seq, "id": str(seq)}


async def test_all_messages_of_one_reading_are_acknowledged_in_one_frame() -> None:
    device, line = connected()
    device.data_received(ACCEPTED + frames(message(1), message(2), message(3)))
    assert len(line.written) == 1
    assert line.written[0].endswith(b'{"type":"delivery_ack","peer":"alice","seq":3}')


async def test_nothing_beyond_a_hole_is_acknowledged() -> None:
    device, line = connected()
    device.data_received(ACCEPTED + frames(message(1), message(3)))
    assert line.written[0].endswith(b'"seq":1}')
    assert device.holes() == 1
    device.data_received(frames(message(2)))
    assert line.written[1].endswith(b'"seq":3}')
    assert device.holes() == 0


async def test_a_message_that_comes_again_is_not_acknowledged_again() -> None:
    device, line = connected()
    device.data_received(ACCEPTED + frames(message(1)))
    device.data_received(frames(message(1)))
    assert len(line.written) == 1


async def test_a_device_is_ready_when_its_sync_is_done() -> None:
    device, line = connected()
    page = {"type": "sync", "conversations": [{"peer": "alice", "cursor": 4}], "messages": [message(5)]}
    device.data_received(ACCEPTED + frames({**page, "done": False, "token": None}))
    assert not device.ready.done()
    device.data_received(frames({"type": "sync", "conversations": [], "messages": [], "done": True, "token": "t"}))
    assert device.ready.done()
    assert device.token == "t"
    assert line.written[0].endswith(b'"seq":5}')


async def test_a_refused_handshake_tells_its_status() -> None:
    device, _ = connected()
    device.data_received(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n{}")
    with pytest.raises(Refused) as refused:
        await device.ready
    assert refused.value.status == 503
