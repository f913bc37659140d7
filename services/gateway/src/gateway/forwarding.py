"""Owns what happens to a frame of a client: which rule it must pass, and where it goes. No I/O, nothing to await."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from chatcore.delivery.frames import encode_error
from chatcore.errors import RETRYABLE, STRIKES, Close, Code, FatalFrame, ProtocolError
from chatcore.frames import (
    DEFAULT_PAGE,
    Auth,
    Conversations,
    DeliveryAck,
    History,
    Ping,
    PresenceSubscribe,
    PresenceUnsubscribe,
    ReadAck,
    Send,
    Typing,
    parse,
)
from chatcore.ids import ConnectionNumber, DeviceId, GatewayId, UserId
from chatcore.stream import (
    ConversationsRequest,
    HistoryRequest,
    Subscribed,
    TypingSeen,
    Unsubscribed,
    send_item,
)

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.outbox import Outbox
from gateway.registry import Registry

RETRY_AFTER_MS: Final = 1_000
"""What a refusal asks a client to wait where nothing better is known."""
PONG: Final = b'{"type":"pong"}'
_LIMITED: Final = (Send, Typing, History, Conversations, PresenceSubscribe)
"""Frames that the rate counts. Acknowledgements are coalesced instead."""


class Forwarder:
    """Takes the frames of all connections."""

    def __init__(
        self, *, gateway: str, outbox: Outbox, registry: Registry, metrics: GatewayMetrics, max_subscriptions: int
    ) -> None:
        self._gateway = GatewayId(gateway)
        self._outbox, self._registry, self._metrics = outbox, registry, metrics
        self._max_subscriptions = max_subscriptions
        self._handlers: dict[type, Callable[[Connection, Any], None]] = {
            Send: self._send,
            DeliveryAck: self._delivery_ack,
            ReadAck: self._read_ack,
            History: self._history,
            Conversations: self._conversations,
            Typing: self._typing,
            PresenceSubscribe: self._subscribe,
            PresenceUnsubscribe: self._unsubscribe,
            Ping: self._ping,
        }
        self._counts = metrics.frames_in.counts

    def text(self, connection: Connection, raw: bytes) -> Auth | None:
        """Take a text frame. An `auth` is given back: to verify a token may take a while."""
        if connection.session.condemned:
            return None
        try:
            frame = parse(raw)
            kind = type(frame)
            self._counts[frame.type] += 1
            if isinstance(frame, Auth):
                return frame
            if kind in _LIMITED and (wait_ms := connection.session.spend(monotonic())):
                ref = frame.id if isinstance(frame, Send) else frame.ref
                self._refuse(connection, Code.RATE_LIMITED, "too many requests", ref=ref, retry_after_ms=wait_ms)
                return None
            self._handlers[kind](connection, frame)
        except ProtocolError as error:
            self.err(connection, error)
        except FatalFrame as error:
            connection.close(error.close, error.message)
        return None

    def err(self, connection: Connection, error: ProtocolError) -> None:
        """Answer a frame at fault, and count it against its connection."""
        if connection.session.condemned:
            return
        self._refuse(connection, error.code, error.message, ref=error.ref, peer=error.peer)
        if error.code in STRIKES and connection.session.strike(monotonic()):
            connection.close_soon(Close.POLICY, "too many frames at fault")

    def unavailable(self, number: int, client_id: str) -> None:
        """A send could not be forwarded, or nobody knows: its client sends it again."""
        connection = self._registry.by_number.get(number)
        if connection is not None:
            connection.session.end_send()
            self._refuse(connection, Code.UNAVAILABLE, "not stored now; send again", ref=client_id)

    def unasked(self, number: int, ref: str | None) -> None:
        """A request did not reach the workers: its client makes it again."""
        connection = self._registry.by_number.get(number)
        if connection is not None:
            self._refuse(connection, Code.UNAVAILABLE, "nobody could be asked now; ask again", ref=ref)

    def left(self, connection: Connection) -> None:
        """A connection is gone: end the subscriptions that were its alone."""
        for user in self._registry.remove(connection):
            self._outbox.tell(Unsubscribed(UserId(user), self._gateway))

    def announce(self, users: Sequence[str]) -> None:
        """Repeat the subscriptions to these users."""
        for user in users:
            self._outbox.tell(Subscribed(UserId(user), self._gateway, ConnectionNumber(0), None))

    def _refuse(
        self,
        connection: Connection,
        code: Code,
        message: str,
        *,
        ref: str | None = None,
        peer: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        if code in RETRYABLE and retry_after_ms is None:
            retry_after_ms = RETRY_AFTER_MS
        self._metrics.refused(code)
        connection.push(encode_error(code, message, ref=ref, peer=peer, retry_after_ms=retry_after_ms))

    def _send(self, connection: Connection, frame: Send) -> None:
        user, to = connection.user, frame.to
        if to == user:
            raise ProtocolError(Code.INVALID_RECIPIENT, "a user does not write to itself", ref=frame.id)
        session = connection.session
        if not session.begin_send(monotonic()):
            self._refuse(connection, Code.OVERLOADED, "too many sends without an answer", ref=frame.id)
            return
        item = send_item(connection.number, user, connection.device, to, frame.id, frame.body, frame.ref)
        if not self._outbox.send(user, to, item, len(frame.body) * 3 + 200):
            session.end_send()
            self._refuse(connection, Code.OVERLOADED, "too many messages wait", ref=frame.id)

    def _delivery_ack(self, connection: Connection, frame: DeliveryAck) -> None:
        _check_peer(connection, frame.peer, frame.ref)
        self._outbox.ack(connection.number, connection.user, connection.device, frame.peer, frame.seq, 0, frame.ref)

    def _read_ack(self, connection: Connection, frame: ReadAck) -> None:
        _check_peer(connection, frame.peer, frame.ref)
        seq = frame.seq
        self._outbox.ack(connection.number, connection.user, connection.device, frame.peer, seq, seq, frame.ref)

    def _history(self, connection: Connection, frame: History) -> None:
        _check_peer(connection, frame.peer, frame.ref)
        self._request(
            connection,
            HistoryRequest(
                gateway=self._gateway,
                connection=ConnectionNumber(connection.number),
                user=UserId(connection.user),
                ref=frame.ref,
                peer=UserId(frame.peer),
                before=frame.before,
                after=frame.after,
                limit=frame.limit or DEFAULT_PAGE,
            ),
        )

    def _conversations(self, connection: Connection, frame: Conversations) -> None:
        self._request(
            connection,
            ConversationsRequest(
                gateway=self._gateway,
                connection=ConnectionNumber(connection.number),
                user=UserId(connection.user),
                device=DeviceId(connection.device),
                ref=frame.ref,
                limit=frame.limit or DEFAULT_PAGE,
                cursor=frame.cursor,
            ),
        )

    def _request(self, connection: Connection, request: HistoryRequest | ConversationsRequest) -> None:
        if not self._outbox.request(request):
            self._refuse(connection, Code.OVERLOADED, "too many requests wait", ref=request.ref)

    def _typing(self, connection: Connection, frame: Typing) -> None:
        if frame.to == connection.user:
            raise ProtocolError(Code.INVALID_RECIPIENT, "a user does not write to itself", ref=frame.ref)
        if not self._outbox.tell(TypingSeen(UserId(connection.user), UserId(frame.to))):
            self._metrics.typing_dropped.counts["full"] += 1

    def _subscribe(self, connection: Connection, frame: PresenceSubscribe) -> None:
        users = dict.fromkeys(frame.users)
        if len(connection.session.subscriptions.keys() | users.keys()) > self._max_subscriptions:
            self._refuse(connection, Code.OVERLOADED, "too many subscriptions", ref=frame.ref)
            return
        number = ConnectionNumber(connection.number)
        for user in users:
            self._registry.watch(connection, user)
            if not self._outbox.tell(Subscribed(UserId(user), self._gateway, number, frame.ref)):
                self._refuse(connection, Code.OVERLOADED, "too many subscriptions wait", ref=frame.ref)
                return

    def _unsubscribe(self, connection: Connection, frame: PresenceUnsubscribe) -> None:
        for user in self._registry.unwatch(connection, frame.users):
            self._outbox.tell(Unsubscribed(UserId(user), self._gateway))

    def _ping(self, connection: Connection, frame: Ping) -> None:
        self._metrics.frames_out.counts["pong"] += 1
        connection.push(PONG if frame.ref is None else b'{"type":"pong","ref":"' + frame.ref.encode() + b'"}')


def _check_peer(connection: Connection, peer: str, ref: str | None) -> None:
    if peer == connection.user:
        raise ProtocolError(Code.INVALID_RECIPIENT, "a user has no conversation with itself", ref=ref)
