"""Owns what is published to a gateway's channel: many records in one publication, bytes ready for the socket. Pure.

A record is a header (kind, connection, length) and a payload. The gateway looks at the header alone and never into
a frame.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final

from chatcore.errors import Close, CodecError, Refusal


class Kind(IntEnum):
    """What a record is."""

    PROBE = 0
    """The gateway's own: it hears itself (R6). The payload is a number in decimal."""
    FRAME = 1
    """A frame for one connection."""
    ANSWER = 2
    """The same, and it answers a send: `sent` or an `error` with its id."""
    PAGE = 3
    """A page of a sync, see `Page`."""
    ADMISSION = 4
    """The answer to a handshake, see `Admission`."""
    CLOSE = 5
    """Close the connection: two bytes of code, then a reason in UTF-8."""
    PRESENCE = 6
    """A frame for every subscriber of a user: the user id, a NUL, the frame. The connection is 0."""
    UNSYNCED = 7
    """The sync of this connection failed for now: ask again later. The payload is the request's number in decimal."""
    TIMING = 8
    """How long this publication was on its way, see `Timing`. The connection is 0."""
    LEAVE = 9
    """The gateway is to end as after SIGTERM. The connection is 0, the payload empty."""
    TRACE = 10
    """The record before, for the same connection, is of a message that is traced, see `Trace`."""


_HEADER: Final = Struct("<BQI")
_PAGE: Final = Struct("<IIH")
_CODE: Final = Struct("<H")
_TIME: Final = Struct("<Q")
_TURN: Final = Struct("<QI")


def record(kind: Kind, connection: int, payload: bytes) -> bytes:
    """Write one record. Records are joined by concatenation."""
    return _HEADER.pack(kind, connection, len(payload)) + payload


def records(publication: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Read a publication: kind, connection, payload of each record, in order. Raises `CodecError` at a damaged one."""
    at, end, size = 0, len(publication), _HEADER.size
    while at < end:
        if at + size > end:
            raise CodecError("a record without a whole header")
        kind, connection, length = _HEADER.unpack_from(publication, at)
        at += size
        if at + length > end:
            raise CodecError("a record shorter than its header says")
        yield kind, connection, publication[at : at + length]
        at += length


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a sync: the frame, and what the gateway needs to ask for the next one."""

    number: int
    """Of the request that it answers."""
    position: str
    """To be sent back for the next page; empty: this was the last."""
    token: str
    """Of the finished sync, when this was the last; empty before."""
    frame: bytes

    def encode(self) -> bytes:
        """Write the payload of a `PAGE` record."""
        position, token = self.position.encode(), self.token.encode()
        return _PAGE.pack(self.number, len(position), len(token)) + position + token + self.frame

    @classmethod
    def decode(cls, payload: bytes) -> "Page":
        """Read the payload of a `PAGE` record. Raises `CodecError`."""
        try:
            number, positions, tokens = _PAGE.unpack_from(payload)
            first = _PAGE.size + positions
            second = first + tokens
            position, token = payload[_PAGE.size : first].decode(), payload[first:second].decode()
        except (StructError, UnicodeDecodeError) as error:
            raise CodecError(f"not a page: {error}") from error
        if second > len(payload):
            raise CodecError("a page shorter than it says")
        return cls(number, position, token, payload[second:])


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a handshake."""

    number: int
    refusal: Refusal | None

    def encode(self) -> bytes:
        """Write the payload of an `ADMISSION` record."""
        return f"{self.number} {self.refusal.value if self.refusal else ''}".encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Admission":
        """Read the payload of an `ADMISSION` record. Raises `CodecError`."""
        try:
            number, _, refusal = payload.decode().partition(" ")
            return cls(int(number), Refusal(refusal) if refusal else None)
        except ValueError as error:
            raise CodecError(f"not an admission: {payload[:100]!r}") from error


@dataclass(frozen=True, slots=True)
class Timing:
    """When a publication was made, and which turns of the gateway it answers. For latencies only."""

    published_ms: int
    """By Redis's clock."""
    turns: Mapping[int, int]
    """How many sends of each turn are answered; a turn is named by its time, by the gateway's own clock."""

    def encode(self) -> bytes:
        """Write the payload of a `TIMING` record."""
        return _TIME.pack(self.published_ms) + b"".join([_TURN.pack(*turn) for turn in self.turns.items()])

    @classmethod
    def decode(cls, payload: bytes) -> "Timing":
        """Read the payload of a `TIMING` record. Raises `CodecError`."""
        try:
            return cls(_TIME.unpack_from(payload)[0], dict(_TURN.iter_unpack(payload[_TIME.size :])))
        except StructError as error:
            raise CodecError(f"not a timing: {payload[:100]!r}") from error


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of the frame in the record before. For spans only."""

    traceparent: str
    frame: str
    """The frame's type."""

    def encode(self) -> bytes:
        """Write the payload of a `TRACE` record."""
        return f"{self.traceparent} {self.frame}".encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Trace":
        """Read the payload of a `TRACE` record. Raises `CodecError`."""
        try:
            traceparent, _, frame = payload.decode().partition(" ")
        except UnicodeDecodeError as error:
            raise CodecError(f"not a trace: {payload[:100]!r}") from error
        return cls(traceparent, frame)


def close_payload(code: Close, reason: str) -> bytes:
    """Write the payload of a `CLOSE` record. `reason` is at most 123 bytes (RFC 6455 section 5.5)."""
    return _CODE.pack(code) + reason.encode()


def read_close(payload: bytes) -> tuple[int, str]:
    """Read the payload of a `CLOSE` record: code, reason. Raises `CodecError`."""
    try:
        return _CODE.unpack_from(payload)[0], payload[_CODE.size :].decode()
    except (StructError, UnicodeDecodeError) as error:
        raise CodecError(f"not a close: {payload[:100]!r}") from error


def presence_payload(user: str, frame: bytes) -> bytes:
    """Write the payload of a `PRESENCE` record. Presence's scripts write the same in Lua."""
    return user.encode() + b"\0" + frame


def read_presence(payload: bytes) -> tuple[str, bytes]:
    """Read the payload of a `PRESENCE` record: user, frame. Raises `CodecError`."""
    user, nul, frame = payload.partition(b"\0")
    try:
        if nul:
            return user.decode(), frame
    except UnicodeDecodeError:
        pass
    raise CodecError("a presence record without its user")
