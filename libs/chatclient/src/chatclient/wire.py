"""One WebSocket to one gateway: the handshake, reading, writing, and what its end means.

Translates between frames and bytes. Never decides whether or when to come back.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp import ClientWSTimeout, WSMsgType
from yarl import URL

from chatclient.errors import ProtocolBroken
from chatclient.session.inputs import Refusal

PATH = "/v1/ws"
PROTOCOL = "chat.v1"
MAX_FRAME_BYTES = 256 * 1024 + 1
"""Bytes: the largest frame of a server is 256 KiB; aiohttp refuses what reaches the number given."""
CLOSE_S = 0.5
"""Seconds to wait for the other side's close frame; a dead network costs this much at every end."""
REFUSAL_BYTES = 4096
"""Bytes read of the answer to a refused handshake: its code stands at the beginning."""


class HandshakeRefused(Exception):
    """The handshake failed; `refusal` tells how."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device connects: one gateway and what the handshake names."""

    base: str
    device: str
    since: str | None

    def url(self) -> URL:
        """Build the URL of the handshake."""
        url = URL(self.base)
        path = url.path.rstrip("/")
        query = {"device": self.device} | ({"since": self.since} if self.since else {})
        return url.with_path(path if path.endswith(PATH) else path + PATH).with_query(query)


class Wire:
    """An open WebSocket. `read` and `write` may wait side by side, each in one task."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._http = http
        self._socket = socket

    @property
    def close_code(self) -> int | None:
        """How the connection was closed; None while it is open, and when it broke."""
        code = self._socket.close_code
        return None if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE else int(code)

    async def read(self, take: Callable[[dict[str, Any]], None], heard: Callable[[], None]) -> bool:
        """Hand on one frame, or the mere sign of life; False when the connection ended."""
        message = await self._socket.receive()
        match message.type:
            case WSMsgType.TEXT:
                take(_parse(message.data))
            case WSMsgType.PING:
                heard()
                # A ping may be read after the connection broke: the next read tells how it ended.
                with suppress(ConnectionError):
                    await self._socket.pong(message.data)
            case WSMsgType.PONG | WSMsgType.BINARY:
                heard()
            case _:
                return False
        return True

    async def write(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        await self._socket.send_str(orjson.dumps(frame).decode())

    async def close(self) -> None:
        """Say goodbye in a bounded time, then drop the connection."""
        try:
            await self._socket.close()
        finally:
            await self._http.close()


async def open_wire(address: Address, token: str) -> Wire:
    """Connect and upgrade; raise `HandshakeRefused` when that fails. Has no time limit: cancel it."""
    codes: list[str] = []
    # A session of its own: closing it drops the socket even when the peer is gone without a word.
    http = aiohttp.ClientSession(middlewares=(_reader_of_refusals(codes),))
    try:
        socket = await http.ws_connect(
            address.url(),
            protocols=(PROTOCOL,),
            headers={"Authorization": f"Bearer {token}"},
            autoping=False,
            compress=0,
            max_msg_size=MAX_FRAME_BYTES,
            timeout=ClientWSTimeout(ws_close=CLOSE_S),
        )
        return Wire(http, socket)
    except aiohttp.WSServerHandshakeError as error:
        await http.close()
        code = codes[0] if codes else f"http_{error.status}"
        raise HandshakeRefused(Refusal(error.status, code, luck(), _retry_after_s(error))) from None
    except (aiohttp.ClientError, OSError) as error:
        await http.close()
        raise HandshakeRefused(Refusal(0, type(error).__name__, luck())) from None
    except BaseException:
        await http.close()
        raise


def luck() -> float:
    """Draw the jitter of a way back."""
    return random.random()  # noqa: S311 - spreads reconnections, keeps no secret


def shuffled(urls: Sequence[str]) -> list[str]:
    """Put gateways into a random order."""
    return random.sample(urls, len(urls))


def _parse(text: str) -> dict[str, Any]:
    try:
        frame = orjson.loads(text)
    except ValueError:
        raise ProtocolBroken("a frame that is no JSON") from None
    if not isinstance(frame, dict):
        raise ProtocolBroken("a frame that is no object")
    # A field that is null is absent (PROTOCOL section 3).
    return {name: value for name, value in frame.items() if value is not None}


def _retry_after_s(error: aiohttp.WSServerHandshakeError) -> float:
    text = error.headers.get("Retry-After", "") if error.headers else ""
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _reader_of_refusals(codes: list[str]) -> Callable[..., Awaitable[aiohttp.ClientResponse]]:
    """Make a middleware that reads the code out of a refusal, which aiohttp throws away."""

    async def read(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.status != 101:
            # A proxy's answer has no such code: the status alone has to do.
            with suppress(ValueError, KeyError, TypeError, aiohttp.ClientError):
                codes.append(str(orjson.loads(await response.content.read(REFUSAL_BYTES))["error"]["code"]))
        return response

    return read
