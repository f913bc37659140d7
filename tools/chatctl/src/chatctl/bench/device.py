"""Owns one device of the load: its handshake, its sync, its acknowledgements (PROTOCOL section 6). No statistics.

A message is acknowledged at once, all those of one reading together: more often than the client rules ask, so the
server's work is rather more than a real client's. Nothing here reconnects or resends on its own.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import orjson

from chatctl.bench import wire

READ_EVERY: Final = 5
"""Every fifth acknowledgement of a live message says that it was read too."""


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.status = int(head[9:12])
        super().__init__(f"{self.status} {body[:200]!r}")
        _, found, rest = head.partition(b"\r\nRetry-After: ")
        self.retry_after_s = float(rest.partition(b"\r\n")[0]) if found else 0.0


class Device(asyncio.Protocol):
    """One connection. `ready` is done when its first sync is; it fails with `Refused` or `ConnectionError`."""

    __slots__ = (
        "_ahead",
        "_handlers",
        "_out",
        "_reader",
        "_request",
        "_transport",
        "_upgraded",
        "acked",
        "cursors",
        "errors",
        "lost",
        "ready",
        "received",
        "token",
        "touched",
        "user",
    )

    def __init__(self, *, user: str, request: bytes) -> None:
        self.user = user
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.cursors: dict[str, int] = {}
        self.acked: dict[str, int] = {}
        self.touched: set[str] = set()
        self.received = 0
        self.errors: dict[str, int] = {}
        self.token = ""
        self.lost: int | None = None
        """The close code, once the connection has ended; 1006 without one."""
        self._ahead: dict[str, set[int]] = {}
        self._request = request
        self._reader = wire.Reader()
        self._upgraded = False
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._handlers: dict[str, Callable[[Any], None]] = {
            "sync": self.on_sync,
            "message": self.on_message,
            "sent": self.on_sent,
            "receipt": self.on_receipt,
            "error": self.on_error,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and answer all of it in one write."""
        if not self._upgraded:
            data = self._take_upgrade(data)
        for opcode, payload in self._reader.feed(data):
            if opcode == wire.TEXT:
                frame = orjson.loads(payload)
                handler = self._handlers.get(frame["type"])
                if handler is not None:
                    handler(frame)
            elif opcode == wire.PING:
                self._out.append(wire.MASKED_PONG)
            elif opcode == wire.CLOSE:
                self.lost = int.from_bytes(payload[:2], "big")
        if self.touched:
            self.acknowledge()
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Remember how it ended."""
        self.lost = self.lost or 1006
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError(str(error or "closed")))

    def put(self, frame: bytes) -> None:
        """Queue a frame for the next `flush`."""
        self._out.append(wire.text(frame))

    def flush(self) -> None:
        """Write what is queued."""
        if self._out and self._transport is not None:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out.clear()

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def hold(self, peer: str, seq: int) -> bool:
        """Take a message's number; gives whether it is new. What is ahead of a hole waits for it."""
        cursor = self.cursors.get(peer, 0)
        if seq <= cursor:
            return False
        ahead = self._ahead.setdefault(peer, set())
        if seq > cursor + 1:
            new = seq not in ahead
            ahead.add(seq)
            return new
        while seq + 1 in ahead:
            seq += 1
            ahead.discard(seq)
        self.cursors[peer] = seq
        return True

    def holes(self) -> int:
        """Count the messages that wait for one before them."""
        return sum(len(ahead) for ahead in self._ahead.values())

    def acknowledge(self) -> None:
        """Acknowledge what is held of the conversations that were touched."""
        for peer in self.touched:
            seq = self.cursors[peer]
            if seq > self.acked.get(peer, 0):
                self.acked[peer] = seq
                kind = "read_ack" if self.received % READ_EVERY == 0 else "delivery_ack"
                self.put(b'{"type":"%s","peer":"%s","seq":%d}' % (kind.encode(), peer.encode(), seq))
        self.touched.clear()

    def on_sync(self, frame: Any) -> None:
        """Take a page: the cursors that it names, then its messages."""
        for conversation in frame["conversations"]:
            peer = conversation["peer"]
            cursor = max(self.cursors.get(peer, 0), conversation["cursor"])
            self.cursors[peer], self.acked[peer] = cursor, max(self.acked.get(peer, 0), conversation["cursor"])
        for message in frame["messages"]:
            self.on_message(message)
        if frame["done"]:
            self.token = frame["token"]
            if not self.ready.done():
                self.ready.set_result(None)

    def on_message(self, frame: Any) -> None:
        """Take a message, live or in a page."""
        peer = frame["peer"]
        if self.hold(peer, frame["seq"]):
            self.received += 1
        self.touched.add(peer)

    def on_sent(self, frame: Any) -> None:
        """Hold one's own message; it is acknowledged once a second (`touch_own`)."""
        self.hold(frame["peer"], frame["seq"])

    def on_receipt(self, frame: Any) -> None:
        """Hear that a mark rose."""

    def on_error(self, frame: Any) -> None:
        """Count what was refused."""
        self.errors[frame["code"]] = self.errors.get(frame["code"], 0) + 1

    def touch_own(self) -> None:
        """Acknowledge what is held of one's own, which PROTOCOL asks for within a second."""
        for peer, cursor in self.cursors.items():
            if cursor > self.acked.get(peer, 0):
                self.touched.add(peer)
        if self.touched:
            self.acknowledge()
            self.flush()

    def _take_upgrade(self, data: bytes) -> bytes:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            raise ConnectionError("half an answer to a handshake: a load generator reads it whole or not at all")
        if not head.startswith(b"HTTP/1.1 101"):
            if not self.ready.done():
                self.ready.set_exception(Refused(head, rest))
            self.abort()
            return b""
        self._upgraded = True
        return rest
