"""Owns a client's WebSocket bytes (RFC 6455), as few and as cheap as a load generator needs. Pure.

It is no client for anybody else: it masks with a key of zeros, which is as valid on the wire as any other key and
costs its sender nothing. The server does the same work for it as for any key.
"""

from struct import Struct
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
MASKED_PONG: Final = bytes((0x8A, 0x80, 0, 0, 0, 0))
_KEY: Final = bytes(4)
_MEDIUM: Final = Struct("!BBH")
_LARGE: Final = Struct("!BBQ")


def text(payload: bytes) -> bytes:
    """Write a text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, 0x80 | size)) + _KEY + payload
    head = _MEDIUM.pack(0x81, 0xFE, size) if size < 65_536 else _LARGE.pack(0x81, 0xFF, size)
    return head + _KEY + payload


def upgrade(*, host: str, device: str, token: str, since: str = "") -> bytes:
    """Write the request of a handshake. Its key is no secret and always the same: nothing here is cached."""
    query = f"device={device}&since={since}" if since else f"device={device}"
    return (
        f"GET /v1/ws?{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: chat.v1\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


class Reader:
    """Turns what arrives into frames. The server sends whole, unmasked frames."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; gives the frames that are complete: opcode and payload."""
        if self._rest:
            data = self._rest + data
        frames: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                start += width
                if start > end:
                    break
                size = int.from_bytes(data[start - width : start], "big")
            if start + size > end:
                break
            frames.append((data[at] & 0xF, data[start : start + size]))
            at = start + size
        self._rest = data[at:] if at < end else b""
        return frames
