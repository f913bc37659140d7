"""Owns the shapes of the frames that a server may send, read off PROTOCOL section 5, and the check against them.

Never imports the product: it is the outside judge's own reading of the contract.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

Frame = dict[str, Any]
MAX_SERVER_FRAME_BYTES: Final = 256 * 1024
MAX_SYNC_PAGE_BYTES: Final = 64 * 1024
MESSAGE_STATES: Final = ("created", "sent", "delivered", "read")
FINAL_ERRORS: Final = frozenset(
    {"invalid_frame", "unknown_type", "invalid_recipient", "too_large", "id_conflict", "ack_ahead", "forbidden"}
)
OPEN_ERRORS: Final = frozenset({"rate_limited", "overloaded", "unavailable", "internal"})
LIMITS: Final = (
    "max_frame_bytes",
    "max_body_bytes",
    "sends_per_s",
    "sends_burst",
    "max_in_flight",
    "max_subscriptions",
    "presence_ttl_s",
)

Check = Callable[[Any], bool]


class BrokenContract(AssertionError):
    """A server's frame is not one that PROTOCOL allows."""


def _integer(value: Any) -> bool:
    return type(value) is int and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _limits(value: Any) -> bool:
    return isinstance(value, dict) and all(_integer(value.get(name)) for name in LIMITS)


_MESSAGE: Final[dict[str, Check]] = {
    "peer": _text, "from": _text, "device": _text, "seq": _integer, "id": _text, "ts": _integer, "body": _text,
}  # fmt: skip
_CONVERSATION: Final[dict[str, Check]] = {
    "peer": _text,
    "last": _integer,
    "cursor": _integer,
    "read": _integer,
    "peer_delivered": _integer,
    "peer_read": _integer,
}
SHAPES: Final[dict[str, dict[str, Check]]] = {
    "welcome": {
        "user": _text, "device": _text, "gateway": _text, "epoch": _text, "ts": _integer, "limits": _limits,
    },
    "sync": {"conversations": _objects, "messages": _objects, "done": _truth, "token": _or_null(_text)},
    "sent": {"id": _text, "peer": _text, "seq": _integer, "ts": _integer},
    "message": _MESSAGE,
    "receipt": {"peer": _text, "user": _text, "delivered": _integer, "read": _integer},
    "history": {"ref": _or_null(_text), "peer": _text, "messages": _objects, "more": _truth},
    "conversations": {"ref": _or_null(_text), "items": _objects, "cursor": _or_null(_text)},
    "presence": {"user": _text, "online": _truth, "last_seen": _or_null(_integer)},
    "typing": {"peer": _text},
    "auth_ok": {"expires_at": _integer},
    "pong": {},
    "error": {
        "code": _text, "message": _text, "ref": _or_null(_text), "retry_after_ms": _or_null(_integer),
    },
    "goaway": {"reason": _text, "reconnect_after_ms": _integer},
}  # fmt: skip
"""Type to its fields; a nullable field may also be absent."""


def read_frame(text: str) -> Frame:
    """Parse one text frame of a server; raises `BrokenContract` for what PROTOCOL does not know."""
    if len(text.encode()) > MAX_SERVER_FRAME_BYTES:
        raise BrokenContract(f"a frame of {len(text)} characters is larger than 256 KiB")
    frame = orjson.loads(text)
    if not isinstance(frame, dict) or frame.get("type") not in SHAPES:
        raise BrokenContract(f"no frame of PROTOCOL: {text[:200]}")
    _check_fields(frame, SHAPES[frame["type"]], text)
    _check_inner(frame, text)
    return frame


def _check_fields(value: Mapping[str, Any], shape: Mapping[str, Check], text: str) -> None:
    for field, check in shape.items():
        if not check(value.get(field)):
            raise BrokenContract(f"field {field} of {text[:300]}")


def _check_inner(frame: Frame, text: str) -> None:
    kind = frame["type"]
    if kind == "sync":
        _check_sync(frame, text)
    elif kind == "history":
        _check_history(frame, text)
    elif kind == "conversations":
        for item in frame["items"]:
            _check_fields(item, {**_CONVERSATION, "ts": _integer, "unread": _integer}, text)
    elif kind == "error":
        _check_error(frame, text)


def _check_sync(frame: Frame, text: str) -> None:
    for conversation in frame["conversations"]:
        _check_fields(conversation, _CONVERSATION, text)
    for message in frame["messages"]:
        _check_fields(message, _MESSAGE, text)
    if frame["done"] != (frame["token"] is not None):
        raise BrokenContract(f"only the last page of a sync has a token: {text[:200]}")
    if len(text.encode()) > MAX_SYNC_PAGE_BYTES:
        raise BrokenContract(f"a page of a sync has {len(text.encode())} bytes")


def _check_history(frame: Frame, text: str) -> None:
    for message in frame["messages"]:
        _check_fields(message, {**_MESSAGE, "state": MESSAGE_STATES.__contains__}, text)
    numbers = [message["seq"] for message in frame["messages"]]
    if numbers != sorted(set(numbers)):
        raise BrokenContract(f"a history's messages do not ascend: {numbers}")


def _check_error(frame: Frame, text: str) -> None:
    if frame["code"] in FINAL_ERRORS:
        if frame.get("retry_after_ms") is not None:
            raise BrokenContract(f"a final error asks to retry: {text[:200]}")
    elif frame["code"] not in OPEN_ERRORS:
        raise BrokenContract(f"an error that PROTOCOL does not name: {text[:200]}")
    elif frame.get("retry_after_ms") is None:
        raise BrokenContract(f"an open error names no retry_after_ms: {text[:200]}")
