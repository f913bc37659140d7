"""Owns the lean connection on the bare protocol: it sends single frames and waits for what is expected.

Must never use the project's own client: what judges the server shares no code with what it judges.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Self

import aiohttp
import orjson
from yarl import URL

from chatctl.verify.contract import Frame, read_frame

CHAT_PROTOCOL: Final = "chat.v1"
FRAMES_KEPT: Final = 10_000
EXPECT_TIMEOUT_S: Final = 15.0
"""The deadline of a condition: G8 promises every message and receipt within 15 s when nothing fails."""


class Refused(Exception):
    """The handshake was answered with an HTTP status instead of an upgrade."""

    def __init__(self, status: int, code: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.headers = headers


class NothingCame(AssertionError):
    """An expected frame did not come before its deadline."""


class ConnectionClosed(Exception):
    """The connection ended, with the close code that its end gave."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


def connect_url(base: str, device: str, since: str | None = None) -> URL:
    """Compose the address of a handshake."""
    query = {"device": device} if since is None else {"device": device, "since": since}
    return URL(base).with_path("/v1/ws").with_query(query)


class RawConnection:
    """One WebSocket connection. It reads only while something is expected, so a test can also leave it unread.

    `frames` keeps the frames that came, in order, only the newest of very many;
    `expect` takes the first one not yet taken that fits.
    """

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._socket = socket
        self._waiting: list[Frame] = []
        self.frames: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self.close_code: int | None = None

    @classmethod
    async def open(
        cls,
        base: str,
        token: str | None,
        device: str,
        *,
        since: str | None = None,
        headers: Mapping[str, str] | None = None,
        protocols: tuple[str, ...] = (CHAT_PROTOCOL,),
    ) -> Self:
        """Connect; raises `Refused` when the gateway answers with a status, OSError when nobody answers."""
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=10))
        fields = dict(headers or {})
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        try:
            async with asyncio.timeout(20):
                socket = await session.ws_connect(
                    connect_url(base, device, since),
                    protocols=protocols,
                    headers=fields,
                    autoping=False,
                    max_msg_size=1 << 20,
                    timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
                )
        except aiohttp.WSServerHandshakeError as error:
            await session.close()
            raise Refused(error.status, "", dict(error.headers or {})) from None
        except BaseException:
            await session.close()
            raise
        return cls(session, socket)

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server chose."""
        return self._socket.protocol

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send one object as a text frame."""
        await self.send_text(orjson.dumps(frame).decode())

    async def send_text(self, text: str) -> None:
        """Send a text frame as it is."""
        await self._guarded(self._socket.send_str(text))

    async def send_bytes(self, data: bytes, kind: aiohttp.WSMsgType = aiohttp.WSMsgType.BINARY) -> None:
        """Send bytes as one frame of the given kind: also those that are no text."""
        await self._guarded(self._socket.send_frame(data, kind))

    async def _guarded(self, sending: Any) -> None:
        try:
            async with asyncio.timeout(EXPECT_TIMEOUT_S):
                await sending
        except (ConnectionError, RuntimeError, aiohttp.ClientError) as error:
            raise ConnectionClosed(self._socket.close_code or 1006) from error

    async def receive(self, *, timeout_s: float = EXPECT_TIMEOUT_S, pings_count: bool = False) -> Frame:
        """Wait for the next frame of the protocol; raises `ConnectionClosed` and `TimeoutError`.

        `pings_count`: the time is one of silence, so a ping begins it anew.
        """
        async with asyncio.timeout(timeout_s) as deadline:
            while True:
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    frame = read_frame(message.data)
                    self.frames.append(frame)
                    return frame
                await self._control(message)
                if pings_count:
                    deadline.reschedule(asyncio.get_running_loop().time() + timeout_s)

    async def _control(self, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.PING:
            with suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.pong(message.data)
        elif message.type is not aiohttp.WSMsgType.PONG:
            self.close_code = self._socket.close_code or 1006
            raise ConnectionClosed(self.close_code)

    async def expect(
        self,
        kind: str,
        *,
        timeout_s: float = EXPECT_TIMEOUT_S,
        where: Callable[[Frame], bool] | None = None,
        **fields: Any,
    ) -> Frame:
        """Take the first frame of that type whose fields fit; what came before it stays for later expectations."""

        def fits(frame: Frame) -> bool:
            if frame["type"] != kind or (where is not None and not where(frame)):
                return False
            return all(frame.get(name.rstrip("_")) == value for name, value in fields.items())

        for index, frame in enumerate(self._waiting):
            if fits(frame):
                return self._waiting.pop(index)
        return await self._await_fitting(fits, f"{kind} {fields}", timeout_s)

    async def _await_fitting(self, fits: Callable[[Frame], bool], wanted: str, timeout_s: float) -> Frame:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    frame = await self.receive(timeout_s=timeout_s + 1)
                    if fits(frame):
                        return frame
                    self._waiting.append(frame)
        except TimeoutError:
            raise NothingCame(f"no {wanted}; came: {[str(frame)[:200] for frame in self._waiting[-12:]]}") from None

    async def expect_closed(self, *, timeout_s: float = EXPECT_TIMEOUT_S) -> int:
        """Read until the connection ends, and return its close code (1006: it ended without one)."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._waiting.append(await self.receive(timeout_s=timeout_s + 1))
        except ConnectionClosed as closed:
            return closed.code
        except TimeoutError:
            raise NothingCame(f"it stayed open; came: {self._waiting[-12:]}") from None

    async def sync(self, *, timeout_s: float = EXPECT_TIMEOUT_S) -> list[Frame]:
        """Take the pages of one whole sync."""
        pages = [await self.expect("sync", timeout_s=timeout_s)]
        while not pages[-1]["done"]:
            pages.append(await self.expect("sync", timeout_s=timeout_s))
        return pages

    async def receive_answer(self, ref: str, *, timeout_s: float = EXPECT_TIMEOUT_S) -> Frame:
        """Take the frame that answers a request: a page or an error."""
        fits = ("history", "conversations", "error")
        return await self._await_fitting(
            lambda frame: frame["type"] in fits and frame.get("ref") == ref, f"answer to {ref}", timeout_s
        )

    async def settled(self) -> list[Frame]:
        """Return all that waits once a pong says that the gateway has answered everything before it."""
        await self.send({"type": "ping"})
        await self.expect("pong")
        return list(self._waiting)

    def untaken(self, kind: str) -> list[Frame]:
        """Return the frames of that type that came and that nobody took."""
        return [frame for frame in self._waiting if frame["type"] == kind]

    def narrow(self, kept_bytes: int) -> None:
        """Have the kernel keep no more than so much of what is not read: by itself it takes megabytes."""
        transport = self._socket._writer.transport
        if transport is not None:
            handle = transport.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kept_bytes)

    def abort(self) -> None:
        """End the connection without a word, as a crash of the device does."""
        transport = self._socket._writer.transport
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        """Close the connection; safe to repeat."""
        with suppress(ConnectionError, aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(5):
                await self._socket.close()
        await self._session.close()
