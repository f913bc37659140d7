"""Owns the frames that a client sends: their shapes, and the one way in which bytes become a valid frame.

Pure. PROTOCOL sections 3 and 4. What comes out of `parse` is valid once and for all; nobody checks again.
"""

import json
from typing import Annotated, Any, Final, Literal

import jiter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from chatcore.errors import Close, Code, FatalFrame, ProtocolError
from chatcore.ids import CLIENT_ID_PATTERN, USER_ID_PATTERN, is_client_id

MAX_FRAME_BYTES: Final = 64 * 1024
"""Bytes of one frame from a client; a larger one closes the connection with 1009."""
MAX_BODY_BYTES: Final = 16_384
"""Bytes of a body in UTF-8, after unescaping; a longer one is `too_large`."""
MAX_SUBSCRIPTIONS: Final = 200
"""Users in one `presence_subscribe`, and subscriptions of one connection."""
MAX_PAGE: Final = 200
"""Messages or conversations in one page of `history` or `conversations`."""
DEFAULT_PAGE: Final = 50
MAX_SEQ: Final = 2**63 - 1
"""What MySQL's signed BIGINT holds. A larger number is as good as this one: no log is ever that long."""
MAX_CURSOR_CHARS: Final = 256

Reference = Annotated[str, StringConstraints(pattern=f"^{CLIENT_ID_PATTERN}$")]
PeerId = Annotated[str, StringConstraints(pattern=f"^{USER_ID_PATTERN}$")]
Number = Annotated[int, Field(ge=0), AfterValidator(lambda seq: min(seq, MAX_SEQ))]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE)]


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    ref: Reference | None = None


class Send(_Frame):
    """Store `body` and deliver it to `to`."""

    type: Literal["send"]
    id: Reference
    to: PeerId
    body: Annotated[str, StringConstraints(min_length=1), Field(description=f"1 to {MAX_BODY_BYTES} bytes of UTF-8.")]


class DeliveryAck(_Frame):
    """The device holds all of the conversation with `peer` up to `seq`."""

    type: Literal["delivery_ack"]
    peer: PeerId
    seq: Number


class ReadAck(_Frame):
    """The user has read up to `seq`."""

    type: Literal["read_ack"]
    peer: PeerId
    seq: Number


class History(_Frame):
    """A page of messages before or after a number; neither is the newest page. Bounds are exclusive."""

    type: Literal["history"]
    peer: PeerId
    before: Number | None = None
    after: Number | None = None
    limit: PageSize | None = None


class Conversations(_Frame):
    """A page of the user's conversations, the latest first."""

    type: Literal["conversations"]
    limit: PageSize | None = None
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR_CHARS)] | None = None


class Typing(_Frame):
    """`to`'s online devices may show it for 5 s."""

    type: Literal["typing"]
    to: PeerId


class PresenceSubscribe(_Frame):
    """Tell me of these users now, and whenever it changes."""

    type: Literal["presence_subscribe"]
    users: Annotated[list[PeerId], Field(min_length=1, max_length=MAX_SUBSCRIPTIONS)]


class PresenceUnsubscribe(_Frame):
    """End what `presence_subscribe` began."""

    type: Literal["presence_unsubscribe"]
    users: Annotated[list[PeerId], Field(min_length=1, max_length=MAX_SUBSCRIPTIONS)]


class Auth(_Frame):
    """A newer token for the same user and device."""

    type: Literal["auth"]
    token: Annotated[str, StringConstraints(max_length=16_384)]


class Ping(_Frame):
    """Ask whether the server is there."""

    type: Literal["ping"]


ClientFrame = (
    Send
    | DeliveryAck
    | ReadAck
    | History
    | Conversations
    | Typing
    | PresenceSubscribe
    | PresenceUnsubscribe
    | Auth
    | Ping
)


def client_frame_types() -> tuple[type[BaseModel], ...]:
    """Return the models of all frames, in the order of the contract."""
    members: Any = ClientFrame
    return tuple(members.__args__)


_ADAPTER: Final[TypeAdapter[ClientFrame]] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])
_USER_FIELDS: Final = frozenset({"to", "peer", "users"})
_UNKNOWN: Final = "union_tag_invalid"
_TOO_LONG: Final = "too_long"


def parse(raw: bytes) -> ClientFrame:
    """Read one text frame from a client.

    Raises `ProtocolError` (`invalid_frame`, `unknown_type`, `invalid_recipient`, `too_large`) for what one `error`
    frame answers, and `FatalFrame` for bytes that are not UTF-8, which close the connection with 1007. That a
    user does not write to itself is the session's to check: a frame does not know its sender.
    """
    try:
        frame = _ADAPTER.validate_json(raw)
    except ValidationError as error:
        frame = _without_nulls(_read_object(raw), error)
    # Each key needs a colon: as many colons as fields leave no room for a key that came twice. Only a body, an id
    # or a token with a colon in it, or a field that came twice, pays for the parser that looks.
    if raw.count(b":") != len(frame.model_fields_set):
        _read_object(raw)
    if isinstance(frame, Send) and len(frame.body) * 4 > MAX_BODY_BYTES:
        _check_body(frame)
    elif isinstance(frame, History) and frame.before is not None and frame.after is not None:
        raise ProtocolError(Code.INVALID_FRAME, "`before` and `after` exclude each other", ref=frame.ref)
    return frame


def _without_nulls(value: dict[str, Any], error: ValidationError) -> ClientFrame:
    """Try again without the fields that are null, since those are absent, known or not. Raises `ProtocolError`."""
    present = {name: given for name, given in value.items() if given is not None}
    if len(present) == len(value):
        raise _refusal(value, error) from None
    try:
        return _ADAPTER.validate_python(present)
    except ValidationError as another:
        raise _refusal(value, another) from None


def _check_body(frame: Send) -> None:
    if len(frame.body.encode()) > MAX_BODY_BYTES:
        raise ProtocolError(Code.TOO_LARGE, f"`body` is longer than {MAX_BODY_BYTES} bytes", ref=frame.id)


def _read_object(raw: bytes) -> dict[str, Any]:
    """Parse again, strictly: raises for what is no object or has a key twice."""
    try:
        value = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        _check_utf8(raw)
        raise ProtocolError(Code.INVALID_FRAME, f"not a JSON object: {error}", ref=_lenient_ref(raw)) from None
    if not isinstance(value, dict):
        raise ProtocolError(Code.INVALID_FRAME, "not a JSON object")
    return value


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise FatalFrame(Close.INVALID_UTF8, "a text frame is not UTF-8") from None


def _lenient_ref(raw: bytes) -> str | None:
    """Find the `ref` where only the strict parser found fault: a key that came twice, a lone surrogate, a raw tab."""
    try:
        value = json.loads(raw, strict=False)
    except (ValueError, RecursionError):
        return None
    return _ref_of(value) if isinstance(value, dict) else None


def _ref_of(value: dict[str, Any]) -> str | None:
    candidates = (value.get("id"), value.get("ref")) if value.get("type") == "send" else (value.get("ref"),)
    for ref in candidates:
        if isinstance(ref, str) and is_client_id(ref):
            return ref
    return None


def _refusal(value: dict[str, Any], error: ValidationError) -> ProtocolError:
    ref = _ref_of(value)
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == _UNKNOWN and isinstance(value.get("type"), str):
        return ProtocolError(Code.UNKNOWN_TYPE, "no such type", ref=ref)
    code = min((_code_of(fault, value) for fault in found), key=_SEVERITY.index)
    where = "; ".join(".".join(str(part) for part in fault["loc"][1:]) + ": " + fault["msg"] for fault in found[:3])
    return ProtocolError(code, where[:300], ref=ref)


_SEVERITY: Final = (Code.INVALID_FRAME, Code.TOO_LARGE, Code.OVERLOADED, Code.INVALID_RECIPIENT)
"""A frame with several faults is told the first of these: an unknown field is worse than a bad id."""


def _code_of(fault: Any, value: dict[str, Any]) -> Code:
    kind, path = fault["type"], fault["loc"][1:]
    field = path[0] if path else None
    if kind == "string_pattern_mismatch" and field in _USER_FIELDS:
        return Code.INVALID_RECIPIENT
    if kind == _TOO_LONG and field == "users":
        return Code.OVERLOADED
    return Code.INVALID_FRAME
