"""Owns a client's WebSocket in the simulation: the handshake and the frames, byte by byte (RFC 6455)."""

import asyncio
from collections import deque
from contextlib import suppress
from struct import pack, unpack_from
from typing import Any, Final
from urllib.parse import quote

from aiohttp import WSMsgType

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
KINDS: Final = {TEXT: WSMsgType.TEXT, PING: WSMsgType.PING, PONG: WSMsgType.PONG}
NO_CODE: Final = 1006
UNREAD_FRAMES: Final = 32
"""Frames that a client takes before it reads them; past it, what comes waits in its kernel."""


def handshake(token: str | None, device: str, since: str | None) -> bytes:
    """Write the request."""
    query = f"device={quote(device)}" + (f"&since={quote(since)}" if since is not None else "")
    lines = [
        f"GET /v1/ws?{query} HTTP/1.1",
        "Host: simulated",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Protocol: chat.v1",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


class ClientSocket(asyncio.Protocol):
    """A WebSocket, from the request to its end. One task at a time reads it."""

    def __init__(self, request: bytes) -> None:
        self.status: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.close_code: int | None = None
        self.transport: asyncio.Transport | None = None
        self._request = request
        self._buffer = bytearray()
        self._frames: deque[tuple[int, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._upgraded = self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - ours
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take the response, then frames."""
        self._buffer += data
        if not self._upgraded and not self._take_response():
            return
        while self._take_frame():
            pass
        if len(self._frames) > UNREAD_FRAMES and self.transport is not None:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be at the end."""
        self._ended = True
        if not self.status.done():
            self.status.set_exception(ConnectionResetError("the gateway is gone"))
        self._wake()

    async def receive(self) -> tuple[WSMsgType, bytes]:
        """Wait for the next frame; CLOSED at the end."""
        while not self._frames:
            if self._ended:
                self.close_code = self.close_code or NO_CODE
                return WSMsgType.CLOSED, b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        opcode, payload = self._frames.popleft()
        if not self._frames and self.transport is not None and not self.transport.is_reading():
            self.transport.resume_reading()
        if opcode == CLOSE:
            self.close_code = unpack_from("!H", payload)[0] if len(payload) >= 2 else 1005
            self._write(CLOSE, payload[:2])
            self.end()
            return WSMsgType.CLOSED, b""
        return KINDS.get(opcode, WSMsgType.BINARY), payload

    def send_text(self, text: str) -> None:
        """Send a text frame. Raises `ConnectionResetError` at the end."""
        if self._ended or self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the connection is over")
        self._write(TEXT, text.encode())

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self._write(PONG, payload)

    async def close(self) -> None:
        """Say goodbye, wait a moment for the answer, and end it."""
        if not self._ended and self.close_code is None:
            self._write(CLOSE, (1000).to_bytes(2, "big"))
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while (await self.receive())[0] is not WSMsgType.CLOSED:
                        pass
        self.end()

    def end(self) -> None:
        """Let the transport go."""
        if self.transport is not None:
            self.transport.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        size = len(payload)
        head = bytes((128 | opcode, 128 | size)) if size < 126 else pack("!BBH", 128 | opcode, 128 | 126, size)
        # A mask of zeros leaves the payload as it is.
        self.transport.write(head + b"\0\0\0\0" + payload)

    def _take_response(self) -> bool:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            return False
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            if not self.status.done():
                self.status.set_result((status, rest))
            return False
        self._buffer = bytearray(rest)
        self._upgraded = True
        self.status.set_result((status, b""))
        return True

    def _take_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            at += width
            if len(buffer) < at:
                return False
            size = int.from_bytes(buffer[2:at], "big")
        if len(buffer) < at + size:
            return False
        self._frames.append((buffer[0] & 0x0F, bytes(buffer[at : at + size])))
        del buffer[: at + size]
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SocketShell:
    """What the bare client calls on aiohttp's socket, on a `ClientSocket`."""

    def __init__(self, socket: ClientSocket) -> None:
        self._socket = socket
        self._writer = self
        self.protocol = "chat.v1"

    @property
    def transport(self) -> asyncio.Transport | None:
        """The stream of bytes, to be cut."""
        return self._socket.transport

    @property
    def close_code(self) -> int | None:
        """How it ended."""
        return self._socket.close_code

    async def receive(self) -> Any:
        """Wait for the next message."""
        kind, payload = await self._socket.receive()
        return Message(kind, payload.decode() if kind is WSMsgType.TEXT else payload)

    async def send_str(self, text: str) -> None:
        """Send a text frame."""
        self._socket.send_text(text)

    async def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self._socket.pong(payload)

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()


class Message:
    """A frame as aiohttp gives it."""

    __slots__ = ("data", "type")

    def __init__(self, kind: WSMsgType, data: Any) -> None:
        self.type, self.data = kind, data
