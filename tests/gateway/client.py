"""A client of a gateway for tests: tokens, a raw socket's frames, and the JSON in them."""

import asyncio
from time import time
from types import TracebackType
from typing import Any, Self

import aiohttp
import jwt
import orjson

SECRET = "a shared secret of the tests, long enough for every hash that there is"


def token(user: str = "alice", *, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Make a token; a claim of None is left out."""
    values = {"sub": user, "aud": "chat", "iss": "chat", "exp": time() + 600, **claims}
    return jwt.encode({k: v for k, v in values.items() if v is not None}, secret, algorithm=algorithm)


class Client:
    """One connection."""

    def __init__(self, url: str, user: str = "alice", *, device: str = "phone", query: str = "", **claims: Any) -> None:
        self._url = f"{url}?device={device}{query}"
        self._headers = {"Authorization": f"Bearer {token(user, **claims)}"}
        self._session = aiohttp.ClientSession()
        self.ws: aiohttp.ClientWebSocketResponse[Any]
        self.welcome: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        try:
            self.ws = await self._session.ws_connect(
                self._url, headers=self._headers, protocols=("chat.v1",), max_msg_size=0, autoping=False
            )
        except BaseException:
            await self._session.close()
            raise
        self.welcome = await self.frame()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.ws.close()
        await self._session.close()

    async def send(self, **frame: Any) -> None:
        await self.ws.send_str(orjson.dumps(frame).decode())

    async def frame(self, *, within_s: float = 8.0) -> Any:
        """Give the next text frame as JSON. Fails when the connection ends instead."""
        while True:
            message = await self.ws.receive(timeout=within_s)
            if message.type is aiohttp.WSMsgType.PING:
                continue
            assert message.type is aiohttp.WSMsgType.TEXT, message
            return orjson.loads(message.data)

    async def until(self, kind: str) -> Any:
        """Give the next frame of a type."""
        while (frame := await self.frame())["type"] != kind:
            pass
        return frame

    async def closed(self, *, within_s: float = 10.0) -> int | None:
        """Read until the end; gives the close code."""
        async with asyncio.timeout(within_s):
            while not self.ws.closed:
                await self.ws.receive()
        return self.ws.close_code


async def connect(port: int, user: str) -> Client:
    """Enter a client of a gateway that starts just now."""
    async with asyncio.timeout(15):
        while True:
            try:
                return await Client(f"http://127.0.0.1:{port}/v1/ws", user).__aenter__()
            except OSError:
                await asyncio.sleep(0.05)
            except Exception as error:
                if type(error).__name__ != "WSServerHandshakeError":
                    raise
                await asyncio.sleep(0.05)
