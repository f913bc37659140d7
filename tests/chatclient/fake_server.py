"""The model server behind real sockets, for the shell's tests: gateways that can be broken at will."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from tests.chatclient.model_server import Line, ModelServer


class FakeServer:
    """One gateway on a loopback port. Its tokens are the users' names."""

    def __init__(self, model: ModelServer) -> None:
        self.model = model
        self.url = ""
        self.refusals: list[web.Response] = []
        self.handshakes: list[web.Request] = []
        self.sockets: dict[web.WebSocketResponse, Line] = {}
        self.muted = False

    def push(self) -> None:
        """Write out whatever the model has for its connections."""
        for socket, line in list(self.sockets.items()):
            frames, line.out[:] = list(line.out), []
            for frame in frames:
                asyncio.ensure_future(_send(socket, frame))  # noqa: RUF006 - ends with the socket

    async def close_all(self, code: int) -> None:
        for socket in list(self.sockets):
            await socket.close(code=code)

    def cut_all(self) -> None:
        """Break every connection without a word."""
        for socket in list(self.sockets):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append(request)
        if self.refusals:
            return self.refusals.pop(0)
        socket = web.WebSocketResponse(protocols=("chat.v1",), compress=False)
        await socket.prepare(request)
        user = request.headers["Authorization"].removeprefix("Bearer ").split(".")[0]
        line = self.model.connect(user, request.query["device"])
        self.sockets[socket] = line
        self.push()
        try:
            await self._serve(socket, line)
        finally:
            del self.sockets[socket]
            self.model.disconnect(line)
        return socket

    async def _serve(self, socket: web.WebSocketResponse, line: Line) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT and not self.muted:
                self.model.receive(line, orjson.loads(message.data))
                self.push()


async def _send(socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
    with suppress(ConnectionError):
        await socket.send_str(orjson.dumps(frame).decode())


@asynccontextmanager
async def serving(model: ModelServer) -> AsyncIterator[FakeServer]:
    """Run a gateway until the end of the block."""
    server = FakeServer(model)
    app = web.Application()
    app.router.add_get("/v1/ws", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await server.close_all(WSCloseCode.GOING_AWAY)
        await runner.cleanup()
