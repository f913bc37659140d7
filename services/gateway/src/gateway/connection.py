"""Owns one socket's way out: a bounded queue, joined writes once per turn of the loop, and the close.

It writes WebSocket frames itself (RFC 6455 section 5.2) in whole frames, so nothing of aiohttp's can come in between.
"""

import asyncio
from collections.abc import Callable
from struct import Struct
from typing import Final

from chatcore.errors import Close

from gateway.session import Session

HIGH_WATER_BYTES: Final = 16 * 1024
"""Bytes in the transport past which frames stay in our own queue."""
CLOSE_S: Final = 5.0
"""Seconds for the peer to answer a Close before the connection is aborted."""
_MEDIUM: Final = Struct("!BBH")
_LARGE: Final = Struct("!BBQ")
_TEXT: Final = 0x81
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A


def ws_frame(first: int, payload: bytes) -> bytes:
    """Write a whole, unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return _MEDIUM.pack(first, 126, size) + payload
    return _LARGE.pack(first, 127, size) + payload


class Outlet:
    """Flushes, once per turn of the loop, the connections that have something to write."""

    def __init__(self) -> None:
        self._dirty: list[Connection] = []
        self._stalled: set[Connection] = set()
        self._scheduled = False

    def mark(self, connection: "Connection") -> None:
        """Have the connection written at the end of this turn."""
        self._dirty.append(connection)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def stall(self, connection: "Connection") -> None:
        """Look again soon: the transport is full."""
        if not self._stalled:
            asyncio.get_running_loop().call_later(0.02, self._retry)
        self._stalled.add(connection)

    def _flush(self) -> None:
        self._scheduled = False
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()

    def _retry(self) -> None:
        stalled, self._stalled = self._stalled, set()
        for connection in stalled:
            connection.flush()


class Connection:
    """One open or opening WebSocket connection of a device."""

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_frames",
        "_marked",
        "_max_bytes",
        "_max_frames",
        "_outlet",
        "_queue",
        "_transport",
        "began",
        "close_code",
        "device",
        "entered_ms",
        "heard_at",
        "leaving",
        "member",
        "number",
        "on_slow",
        "session",
        "user",
        "vouched_at",
    )

    def __init__(
        self,
        *,
        number: int,
        user: str,
        device: str,
        session: Session,
        outlet: Outlet,
        max_bytes: int,
        max_frames: int,
        on_slow: Callable[[], None],
        now: float,
    ) -> None:
        self.number, self.user, self.device, self.session = number, user, device, session
        self.entered_ms, self.member = 0, ""
        self.began = self.heard_at = now
        self.vouched_at = now
        """When it was heard, as its last beat told: its member's time runs from then."""
        self.leaving = False
        """Its client was told to go elsewhere."""
        self.close_code: int | None = None
        self.on_slow = on_slow
        self._transport: asyncio.Transport | None = None
        self._outlet = outlet
        self._queue: list[bytes | Callable[[], None]] = []
        """Taken from its front in chunks. No deque: an empty one holds 0.7 KiB, and most queues are empty."""
        self._bytes = self._frames = 0
        self._max_bytes, self._max_frames = max_bytes, max_frames
        self._marked = False

    def open(self, transport: asyncio.Transport, welcome: bytes) -> None:
        """Take the socket over after its upgrade. `welcome` goes first, whatever was queued meanwhile."""
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        framed = ws_frame(_TEXT, welcome)
        if self.close_code is not None:
            transport.write(framed)
            code, self.close_code = self.close_code, None
            self.close(code, "")
            return
        # In one write with what is queued already, as a rule the first page.
        self._queue.insert(0, framed)
        self._bytes += len(framed)
        self._frames += 1
        self.flush()

    def push(self, frame: bytes, left: Callable[[], None] | None = None) -> None:
        """Queue a text frame. Past the bound the queue is dropped and the connection closes with 4408 (R5)."""
        if self.close_code is not None:
            return
        framed = ws_frame(_TEXT, frame)
        self._queue.append(framed)
        self._bytes += len(framed)
        self._frames += 1
        if left is not None:
            self._queue.append(left)
        if self._bytes > self._max_bytes or self._frames > self._max_frames:
            self.on_slow()
            self.close(Close.TOO_SLOW, "too slow to read")
        elif not self._marked:
            self._marked = True
            self._outlet.mark(self)

    def when_left(self, done: Callable[[], None]) -> None:
        """Call `done` once all that is queued now was written; never, if the connection closes first."""
        if self.close_code is None:
            self._queue.append(done)
            if not self._marked:
                self._marked = True
                self._outlet.mark(self)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._control(_PING, b"")

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self._control(_PONG, payload)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye and give the peer a moment to answer. What is queued is dropped; a sync brings it again."""
        if self.close_code is not None:
            return
        self.close_code = code
        self._queue.clear()
        self._bytes = self._frames = 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ws_frame(_CLOSE, int(code).to_bytes(2, "big") + reason.encode()))
            asyncio.get_running_loop().call_later(CLOSE_S, self._transport.abort)

    def close_soon(self, code: int, reason: str) -> None:
        """Close once what is queued has left, or after `CLOSE_S`: a reader that is slower than that loses the rest."""
        if self.close_code is not None:
            return
        self.when_left(lambda: self.close(code, reason))
        asyncio.get_running_loop().call_later(CLOSE_S, self.close, code, reason)

    def abort(self) -> None:
        """End it without a word."""
        self.close_code = self.close_code or Close.GOING_AWAY
        self._queue.clear()
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """The peer is done or gone: answer its Close, if it is the first, and let the socket go."""
        transport = self._transport
        self._queue.clear()
        if transport is None or transport.is_closing():
            return
        if self.close_code is None:
            self.close_code = 1000
            transport.write(ws_frame(_CLOSE, (1000).to_bytes(2, "big")))
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(CLOSE_S, transport.abort)
        transport.close()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait because the peer reads slowly."""
        return self._bytes

    def flush(self) -> None:
        """Write what the transport takes."""
        self._marked = False
        transport, queue = self._transport, self._queue
        if transport is None or self.close_code is not None or transport.is_closing():
            return
        while queue:
            if transport.get_write_buffer_size() > HIGH_WATER_BYTES:
                self._marked = True
                self._outlet.stall(self)
                return
            chunk, left = self._take()
            if chunk:
                transport.write(chunk[0] if len(chunk) == 1 else b"".join(chunk))
            for callback in left:
                callback()

    def _take(self) -> tuple[list[bytes], list[Callable[[], None]]]:
        chunk: list[bytes] = []
        left: list[Callable[[], None]] = []
        size = 0
        for item in self._queue:
            if size > HIGH_WATER_BYTES:
                break
            if isinstance(item, bytes):
                chunk.append(item)
                size += len(item)
            else:
                left.append(item)
        del self._queue[: len(chunk) + len(left)]
        self._frames -= len(chunk)
        self._bytes -= size
        return chunk, left

    def _control(self, first: int, payload: bytes) -> None:
        transport = self._transport
        if transport is None or self.close_code is not None or transport.is_closing():
            return
        # A peer that sends pings and reads nothing must not fill the transport.
        if transport.get_write_buffer_size() <= HIGH_WATER_BYTES:
            transport.write(ws_frame(first, payload))
