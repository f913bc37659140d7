"""Owns the way of one connection: handshake, admission, upgrade, reading, and leaving in order."""

import asyncio
from collections.abc import Callable
from time import monotonic, time
from typing import Any, Final

import orjson
from aiohttp import WebSocketError, WSMsgType, web
from chatcore.delivery.frames import encode_error
from chatcore.errors import HTTP_STATUS, Code, HandshakeRefused, ProtocolError, Refusal, StoreUnavailable
from chatcore.frames import MAX_FRAME_BYTES, Auth
from chatcore.ids import ConnectionNumber, DeviceId, GatewayId, UserId
from chatcore.keys import Member
from chatcore.logs import get_logger
from chatcore.stream import Connected

from gateway.admissions import Admissions
from gateway.connection import CLOSE_S, Connection, Outlet
from gateway.forwarding import Forwarder
from gateway.handshake import RETRY_AFTER_S, SUBPROTOCOL, Handshake, Hello
from gateway.metrics import ACCEPTED, GatewayMetrics
from gateway.outbox import Outbox
from gateway.registry import Registry
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.sweeper import absent_s
from gateway.syncs import Syncs, refusal_of
from gateway.tokens import Tokens

ADMISSION_S: Final = 5.0
"""Seconds for Redis and a worker to admit a connection; past them the client comes again."""
WRITER_LIMIT: Final = 4096
HEAR_S: Final = 0.02
"""Seconds between two looks whether a peer that was at fault is gone."""
FINISH_S: Final = 0.5
"""Seconds in which a peer at fault may finish its frame; then our half of the socket closes, for one that waits for it.
Some clients that see this at once give up what they still send, and with it the Close frame."""

log = get_logger(__name__)


class Door:
    """Serves `/v1/ws`."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        gateway: str,
        handshake: Handshake,
        admissions: Admissions,
        tokens: Tokens,
        registry: Registry,
        outbox: Outbox,
        syncs: Syncs,
        forwarder: Forwarder,
        returned: Callable[[Connection], None],
        metrics: GatewayMetrics,
    ) -> None:
        self._settings, self._gateway, self._returned = settings, gateway, returned
        self._absent_s = absent_s(settings.presence_ttl_s)
        self._handshake, self._admissions, self._tokens = handshake, admissions, tokens
        self._registry, self._outbox, self._syncs, self._forwarder = registry, outbox, syncs, forwarder
        self._metrics = metrics
        self._outlet = Outlet()
        self._epoch = ""

    def know_epoch(self, epoch: str) -> None:
        """Name this database epoch from now on."""
        self._epoch = epoch

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Be the handler of a request: gives the response, after the connection ended."""
        began = monotonic()
        try:
            hello = await self._handshake.check(request)
            connection = self._make(hello)
            await self._wait_for_admission(connection, hello.since)
        except HandshakeRefused as refused:
            self._metrics.handshakes.counts[refused.refusal.value] += 1
            return refusal_response(refused)
        self._metrics.handshakes.counts[ACCEPTED] += 1
        self._metrics.handshake_seconds.observe(monotonic() - began)
        return await self._upgrade(request, connection)

    def _make(self, hello: Hello) -> Connection:
        settings, now = self._settings, monotonic()
        session = Session(
            rate=settings.sends_per_s,
            burst=settings.sends_burst,
            max_in_flight=settings.max_in_flight,
            now=now,
            expires_at_s=hello.expires_at_s,
        )
        connection = Connection(
            number=self._registry.next_number(),
            user=hello.user,
            device=hello.device,
            session=session,
            outlet=self._outlet,
            max_bytes=settings.queue_bytes,
            max_frames=settings.queue_frames,
            on_slow=self._metrics.slow_readers.inc,
            now=now,
        )
        self._registry.add(connection)
        return connection

    async def _wait_for_admission(self, connection: Connection, since: str) -> None:
        admitted, began = False, monotonic()
        self._admissions.begin()
        try:
            await self._admit(connection, since)
            admitted = True
        finally:
            self._admissions.end(monotonic() - began, admitted=admitted)
            if not admitted:
                self._leave(connection)

    async def _admit(self, connection: Connection, since: str) -> None:
        """Enter the member, then ask a worker (R4). Raises `HandshakeRefused`."""
        try:
            async with asyncio.timeout(ADMISSION_S):
                draft = f"{connection.device}|{self._gateway}|{connection.number}"
                connection.entered_ms = await self._outbox.enter(connection.user, draft)
                connection.member = Member(
                    DeviceId(connection.device),
                    GatewayId(self._gateway),
                    ConnectionNumber(connection.number),
                    connection.entered_ms,
                ).encode()
                admission = self._syncs.admit(connection, since)
                self._outbox.tell(Connected(UserId(connection.user), connection.member))
                refusal = await admission
        except (TimeoutError, StoreUnavailable):
            raise HandshakeRefused(
                Refusal.NOT_READY, "not admitted in time; come again", retry_after_s=RETRY_AFTER_S
            ) from None
        if refusal is not None:
            raise refusal_of(refusal)

    async def _upgrade(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        ws: Socket = Socket(
            protocols=(SUBPROTOCOL,),
            timeout=CLOSE_S,
            compress=False,
            autoping=False,
            autoclose=False,
            heartbeat=None,
            max_msg_size=MAX_FRAME_BYTES + 1,  # aiohttp refuses a frame of this very size
            decode_text=False,
            writer_limit=WRITER_LIMIT,
        )
        try:
            await ws.prepare(request)
            transport = request.transport
            if transport is not None:
                connection.open(transport, self._welcome(connection))
                self._metrics.frames_out.counts["welcome"] += 1
                fault = await self._read(ws, connection)
                if fault is not None:
                    connection.close(fault.code, "")
                    await _hear_out(request, transport)
        except ConnectionError:
            log.debug("connection_lost")
        finally:
            connection.finish()
            self._leave(connection)
        return await _let_go(ws)

    async def _read(self, ws: "Socket", connection: Connection) -> WebSocketError | None:
        """Take frames until the peer closes, is gone, or breaks RFC 6455 or the size of a frame: gives that fault."""
        while True:
            message = await ws.receive()
            now = monotonic()
            if now - connection.heard_at > self._absent_s:
                self._returned(connection)
            connection.heard_at = now
            kind = message.type
            if kind is WSMsgType.TEXT:
                # After our Close, only the peer's own is waited for.
                if connection.close_code is None and (auth := self._forwarder.text(connection, message.data)):
                    await self._renew(connection, auth)
            elif kind is WSMsgType.PING:
                connection.pong(message.data)
            elif kind is WSMsgType.BINARY:
                self._forwarder.err(connection, ProtocolError(Code.INVALID_FRAME, "a binary frame"))
            elif kind is not WSMsgType.PONG:
                return _fault(message.data)

    async def _renew(self, connection: Connection, frame: Auth) -> None:
        """Take a newer token of the same user and device; any other changes nothing."""
        try:
            identity = await self._tokens.verify(frame.token)
        except HandshakeRefused:
            identity = None
        same = identity is not None and identity.user == connection.user
        if identity is None or not same or identity.device not in (None, connection.device):
            self._metrics.refused(Code.FORBIDDEN)
            connection.push(encode_error(Code.FORBIDDEN, "not a token of this user and device", ref=frame.ref))
            return
        self._metrics.frames_out.counts["auth_ok"] += 1
        connection.session.expires_at_s = identity.expires_at_s
        answer: dict[str, Any] = {"type": "auth_ok", "expires_at": int(identity.expires_at_s * 1000)}
        connection.push(orjson.dumps(answer if frame.ref is None else {**answer, "ref": frame.ref}))

    def _leave(self, connection: Connection) -> None:
        """Remove the member; presence is told when it is gone."""
        if connection.number not in self._registry.by_number:
            return
        self._syncs.forget(connection.number)
        self._forwarder.left(connection)
        if connection.member:
            self._outbox.leave(connection.user, connection.member)
        if connection.close_code is not None:
            self._metrics.closed(connection.close_code)

    def _welcome(self, connection: Connection) -> bytes:
        return orjson.dumps(
            {
                "type": "welcome",
                "user": connection.user,
                "device": connection.device,
                "gateway": self._settings.name,
                "epoch": self._epoch,
                "ts": int(time() * 1000),
                "limits": self._settings.limits,
            }
        )


class Socket(web.WebSocketResponse[Any]):
    """An upgraded request, of which aiohttp only reads: the connection alone writes, and says when it ends.

    aiohttp's own end of a frame at fault closes at once. What the peer still sends then meets a closed socket, which
    answers with a reset, and the reset takes the Close frame with it: a client would see 1006 instead of 1009.
    """

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Do nothing: aiohttp calls it at every end."""
        return False


def _fault(data: object) -> WebSocketError | None:
    if not isinstance(data, WebSocketError):
        return None
    # The traceback's frames hold the response, which holds the error: a cycle that only the collector would find.
    data.__traceback__ = None
    return data


async def _hear_out(request: web.Request, transport: asyncio.Transport) -> None:
    """After our Close, let the peer finish its frame, unread, and go: at most `CLOSE_S`, then the connection aborts."""
    finished = asyncio.get_running_loop().time() + FINISH_S
    while request.transport is not None:
        await asyncio.sleep(HEAR_S)  # aiohttp tells nobody when a connection is lost
        if asyncio.get_running_loop().time() >= finished and not transport.is_closing():
            transport.write_eof()
            finished += CLOSE_S


async def _let_go(ws: "Socket") -> web.StreamResponse:
    """Forget why aiohttp stopped reading."""
    error = ws.exception()
    if error is not None:
        # The traceback's frames hold the response: a cycle that only the collector would find.
        error.__traceback__ = None
    return ws


def refusal_response(refused: HandshakeRefused) -> web.Response:
    """Write a refusal as JSON."""
    headers = {"Retry-After": str(refused.retry_after_s)} if refused.retry_after_s is not None else {}
    if refused.refusal is Refusal.NOT_WEBSOCKET:
        headers["Upgrade"] = "websocket"
    status = HTTP_STATUS[refused.refusal]
    return json_error(status, refused.refusal.value, refused.message, headers=headers)


def json_error(status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> web.Response:
    """Write an error body."""
    body = orjson.dumps({"error": {"code": code, "message": message}})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
