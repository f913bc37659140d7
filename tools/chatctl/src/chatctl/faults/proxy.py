"""A TCP proxy whose lines can be made as bad as a real network's, on the loopback, in the loop of its caller.

Toxiproxy's vocabulary (`toxics`), and `down`: nobody listens and every connection is reset.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from typing import Final, Self

from chatctl.faults.lane import Lane, Toxics
from chatctl.faults.toxics import Direction, Toxic

HIGH_WATER_BYTES: Final = 64 * 1024
"""Bytes in a transport towards a slow reader past which the lane holds the rest back."""
BUFFER_BYTES: Final = 32 * 1024
"""Of a socket in the kernel, on the way to a client and from its server: it would take megabytes, and nobody behind us
would feel that a client does not read."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset (socket(7))."""
CONNECT_S: Final = 5.0
"""Seconds to reach the server; past them the client's connection is reset."""
BACKLOG: Final = 1_024

Address = tuple[str, int]


class Proxy:
    """One listening port in front of one server. `upstream` is asked at each connection: the server's port may move."""

    def __init__(self, name: str, *, port: int, upstream: Callable[[], Address], random: Random) -> None:
        self.name, self.port = name, port
        self._upstream, self._random = upstream, random
        self._toxics = Toxics()
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()

    async def __aenter__(self) -> Self:
        """Listen for the length of a block."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more."""
        self.stop()

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self), "127.0.0.1", self.port, backlog=BACKLOG)

    def stop(self) -> None:
        """Listen no more, and reset every connection. Safe to repeat."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    @property
    def connections(self) -> int:
        """How many pass through it now."""
        return len(self._lines)

    @property
    def whole(self) -> bool:
        """Whether it listens, and nothing is wrong with its lines."""
        return self._server is not None and not self._toxics

    def cut(self) -> int:
        """Reset every connection; gives how many there were."""
        lines = list(self._lines)
        for line in lines:
            line.cut()
        return len(lines)

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Refuse and reset every connection for the length of a block."""
        self.stop()
        try:
            yield
        finally:
            await self.start()

    @contextmanager
    def afflicted(self, *toxics: Toxic) -> Iterator[None]:
        """Have toxics in force for the length of a block."""
        for toxic in toxics:
            self._toxics.add(toxic)
        try:
            yield
        finally:
            for toxic in toxics:
                self._toxics.remove(toxic)

    def accepted(self, client: "_End") -> None:
        """A client connected: its line begins."""
        line = _Line(client, self._toxics, random=self._random, upstream=self._upstream)
        self._lines.add(line)
        line.task.add_done_callback(lambda _: self._lines.discard(line))


class _End(asyncio.Protocol):
    """One end of a line: gives what it receives to its lane, once there is one."""

    def __init__(self, proxy: Proxy | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.inward: Lane | None = None
        """Takes what this end receives."""
        self.outward: Lane | None = None
        """Writes to this end."""
        self.ended = False
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the other end before anything is read."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        way = socket.SO_RCVBUF if self._proxy is None else socket.SO_SNDBUF
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, way, BUFFER_BYTES)
        transport.pause_reading()
        if self._proxy is not None:
            self._proxy.accepted(self)

    def data_received(self, data: bytes) -> None:
        """Forward it."""
        if self.inward is not None:
            self.inward.feed(data)

    def eof_received(self) -> bool:
        """Keep the other direction open, as TCP does."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: what was received before still goes on."""
        self._end()
        if self.outward is not None:
            self.outward.end()
            self.outward.resume()

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        if self.outward is not None:
            self.outward.hold()

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self.outward is not None:
            self.outward.resume()

    def reset(self) -> None:
        """End it with a reset."""
        if self.transport is not None and not self.transport.is_closing():
            handle = self.transport.get_extra_info("socket")
            with suppress(OSError):
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def close(self) -> None:
        """End it once everything has left."""
        if self.transport is not None:
            self.transport.close()

    def _end(self) -> None:
        self.ended = True
        if self.inward is not None:
            self.inward.end()


class _Line:
    """One proxied connection: two ends and the lanes between them, owned by one task."""

    def __init__(self, client: _End, toxics: Toxics, *, random: Random, upstream: Callable[[], Address]) -> None:
        self._client, self._server = client, _End()
        self._toxics, self._random, self._upstream = toxics, random, upstream
        self.task = asyncio.create_task(self._run(), name="line")

    def cut(self) -> None:
        """Reset both ends."""
        self._client.reset()
        self._server.reset()
        self.task.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: self._server, *self._upstream())
        except (OSError, TimeoutError, LookupError):
            self._client.reset()
            return
        await self._carry()
        self._client.close()
        self._server.close()

    async def _carry(self) -> None:
        up, down = self._lane(Direction.UP), self._lane(Direction.DOWN)
        up.other, down.other = down, up
        self._client.inward = self._server.outward = up
        self._server.inward = self._client.outward = down
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._drain(up, self._server))
            lanes.create_task(self._drain(down, self._client))
            for end in (self._client, self._server):
                if end.transport is not None and not end.ended:
                    end.transport.resume_reading()
                elif end.inward is not None:
                    end.inward.end()

    def _lane(self, direction: Direction) -> Lane:
        source, sink = self._client.transport, self._server.transport
        if direction == Direction.DOWN:
            source, sink = sink, source
        assert source is not None and sink is not None  # noqa: S101, PT018 - both are connected
        return Lane(direction, self._toxics, source=source, sink=sink, cut=self.cut, random=self._random)

    async def _drain(self, lane: Lane, sink: _End) -> None:
        """Carry a lane to its end, then end its sink's half of the connection."""
        await lane.run()
        if sink.transport is not None and not sink.transport.is_closing():
            with suppress(OSError):  # its peer has reset it, and the loop does not know yet
                sink.transport.write_eof()
