"""Owns the socket between a client and a gateway: two ends of one stream of bytes, in order, until one ends it.

It must never lose or reorder bytes, since TCP does not: it delays them, or breaks. A protocol hears of the end a turn
later than the transport, as asyncio has it: what a connection began is under way by then.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from chatctl.simulate.channel import APART_S
from chatctl.simulate.event_loop import Stream

KERNEL_BYTES: Final = 64 * 1024
"""What the kernels of both sides take before a writer has to wait."""


class MemoryTransport(asyncio.Transport, Stream):
    """One end. Both ends are made by `connect`."""

    def __init__(self, protocol: asyncio.BaseProtocol, context: Context, delay_s: Callable[[], float]) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._context = context
        self._delay_s = delay_s
        self._peer: MemoryTransport | None = None
        self._due_s = 0.0
        self._on_its_way = 0
        self._closing = False
        self._lost = False
        self._reading = True
        self._unread: list[bytes | None] = []

    def begin(self, peer: "MemoryTransport") -> None:
        """Be connected to the other end."""
        self._peer = peer
        self._loop.call_soon(self._protocol.connection_made, self, context=self._context)

    def write(self, data: Any) -> None:
        """Send bytes."""
        if not self._closing and data:
            chunk = bytes(data)
            self._on_its_way += len(chunk)
            self._send(lambda peer: peer._take(chunk))

    def writelines(self, list_of_data: Any) -> None:
        """Send them all."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Send nothing more."""
        self._send(lambda peer: peer._take(None))

    def can_write_eof(self) -> bool:
        """Say that half of it can be closed."""
        return True

    def close(self) -> None:
        """End it after what was written."""
        if not self._closing:
            self._closing = True
            self._send(lambda peer: peer._ended())
            self._loop.call_soon(self._lose, None, context=self._context)

    def abort(self) -> None:
        """End it now: what is on its way may be lost with it."""
        self._closing = True
        if not self._lost:
            self._send(lambda peer: peer.reset())
            self._loop.call_soon(self._lose, None, context=self._context)

    def vanish(self) -> None:
        """Let both ends hear nothing more of each other, and nobody be told: the device is out of reach for ever."""
        if self._peer is not None:
            self._peer._peer = None
        self._peer = None

    def reset(self) -> None:
        """The other end, or the network, broke it."""
        self._closing = True
        self._unread.clear()
        self._loop.call_soon(self._lose, ConnectionResetError("reset"), context=self._context)

    def is_closing(self) -> bool:
        """Whether it ends."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Bytes that no kernel has taken yet."""
        return max(0, self._on_its_way - KERNEL_BYTES)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take note of nothing: a writer looks at the size itself."""

    def pause_reading(self) -> None:
        """Leave what comes in the kernel."""
        self._reading = False

    def resume_reading(self) -> None:
        """Read on."""
        self._reading = True
        while self._unread and self._reading:
            self._deliver(self._unread.pop(0))

    def is_reading(self) -> bool:
        """Whether it reads."""
        return self._reading

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Give who is told."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell somebody else from now on."""
        self._protocol = protocol

    def _send(self, work: Callable[["MemoryTransport"], None]) -> None:
        peer = self._peer
        if peer is not None:
            self._due_s = max(self._due_s + APART_S, self._loop.time() + self._delay_s())
            self._loop.call_at(self._due_s, peer._do, work, context=peer._context)

    def _do(self, work: Callable[["MemoryTransport"], None]) -> None:
        work(self)

    def _take(self, data: bytes | None) -> None:
        if self._lost:
            return
        if self._reading and not self._unread:
            self._deliver(data)
        else:
            self._unread.append(data)

    def _deliver(self, data: bytes | None) -> None:
        protocol = self._protocol
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101 - both ends are made here
        if data is None:
            protocol.eof_received()
            return
        if self._peer is not None:
            self._peer._on_its_way -= len(data)
        protocol.data_received(data)

    def _ended(self) -> None:
        if not self._lost:
            self._closing = True
            self._loop.call_soon(self._lose, None, context=self._context)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)


def connect(
    client: asyncio.Protocol,
    server: asyncio.BaseProtocol,
    *,
    server_context: Context,
    delay_s: Callable[[], float],
) -> MemoryTransport:
    """Connect two protocols; gives the client's end."""
    near = MemoryTransport(client, Context(), delay_s)
    far = MemoryTransport(server, server_context, delay_s)
    near.begin(far)
    far.begin(near)
    return near
