"""Owns the one tree of errors: what a client is told by name, and what stops a service.

A `ProtocolError` means that the peer erred or must wait: it is counted, never logged as ours.
"""

from enum import IntEnum, StrEnum
from typing import Final


class Code(StrEnum):
    """The error codes of PROTOCOL section 5."""

    INVALID_FRAME = "invalid_frame"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_RECIPIENT = "invalid_recipient"
    TOO_LARGE = "too_large"
    ID_CONFLICT = "id_conflict"
    ACK_AHEAD = "ack_ahead"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


RETRYABLE: Final = frozenset({Code.RATE_LIMITED, Code.OVERLOADED, Code.UNAVAILABLE, Code.INTERNAL})
"""The outcome is open and the same frame may be sent again; these carry `retry_after_ms`."""

STRIKES: Final = frozenset({Code.INVALID_FRAME, Code.UNKNOWN_TYPE, Code.TOO_LARGE, Code.INVALID_RECIPIENT})
"""The 20th of these within 60 s closes the connection with 1008."""


class Close(IntEnum):
    """The close codes of PROTOCOL section 5 (RFC 6455 section 7.4)."""

    GOING_AWAY = 1001
    INVALID_UTF8 = 1007
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL = 1011
    DRAINING = 1012
    TOKEN_EXPIRED = 4401
    REVOKED = 4403
    TOO_SLOW = 4408
    REPLACED = 4409


class Refusal(StrEnum):
    """Why a handshake is refused before the upgrade (PROTOCOL section 3)."""

    NOT_WEBSOCKET = "not_websocket"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    BAD_DEVICE = "bad_device"
    BAD_VERSION = "bad_version"
    NO_TOKEN = "no_token"  # noqa: S105 - a code, not a secret
    BAD_TOKEN = "bad_token"  # noqa: S105 - a code, not a secret
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - a code, not a secret
    BAD_ORIGIN = "bad_origin"
    WRONG_DEVICE = "wrong_device"
    REVOKED = "revoked"
    TOO_MANY_DEVICES = "too_many_devices"


HTTP_STATUS: Final = {
    Refusal.NOT_WEBSOCKET: 426,
    Refusal.DRAINING: 503,
    Refusal.NOT_READY: 503,
    Refusal.TOO_MANY_CONNECTIONS: 429,
    Refusal.BAD_DEVICE: 400,
    Refusal.BAD_VERSION: 400,
    Refusal.NO_TOKEN: 401,
    Refusal.BAD_TOKEN: 401,
    Refusal.EXPIRED_TOKEN: 401,
    Refusal.BAD_ORIGIN: 403,
    Refusal.WRONG_DEVICE: 403,
    Refusal.REVOKED: 403,
    Refusal.TOO_MANY_DEVICES: 403,
}
"""The one table from refusals to HTTP."""


class ChatError(Exception):
    """The root of every error of ours."""


class ProtocolError(ChatError):
    """The peer broke the protocol or must come again: one `error` frame answers it, the connection stays.

    `ref` is the frame's own, or a send's `id`, whenever it could be read.
    """

    def __init__(self, code: Code, message: str, *, ref: str | None = None, peer: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.ref = ref
        self.peer = peer


class FatalFrame(ChatError):
    """The peer sent what ends the connection: `close` says with which code."""

    def __init__(self, close: Close, message: str) -> None:
        super().__init__(message)
        self.close = close
        self.message = message


class HandshakeRefused(ChatError):
    """A connection is refused before its upgrade."""

    def __init__(self, refusal: Refusal, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message
        self.retry_after_s = retry_after_s


class CodecError(ChatError):
    """An entry or a publication is not what its codec wrote: it was made by another version, or is damaged."""


class ConfigurationError(ChatError):
    """A service cannot start as it is configured. Printed as one line; exit code 2."""


class StoreUnavailable(ChatError):
    """Redis or MySQL failed or did not answer in time: what was asked may or may not have happened."""


class SessionLost(StoreUnavailable):
    """A connection that stood before has ended, so that a new one may well do: what was only read may be read again."""
