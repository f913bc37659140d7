"""Owns what a trace is on its way through the system: the W3C context, what is followed, the spans' names. Pure.

A gateway decides which conversations are followed; the context then travels with a message: as the trailing element of
its item in a stream's entry (`chatcore.stream`), and in a record behind its frame in a publication (`chatcore.push`).
"""

import re
from typing import Any, Final, NamedTuple, Self

import orjson

from chatcore.ids import ClientId, ConversationId, UserId

TURN_S: Final = 600
"""Seconds for which the same conversations are followed; then others have their turn."""
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""2**64 by the golden ratio: its multiples fall evenly into the range, so that every conversation has its turn."""
_SPACE: Final = 2**64

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?").fullmatch
_INVALID_VERSION: Final = "ff"
_SAMPLED: Final = 1

_TRACE: Final = 8
"""Where an item that is traced has its `traceparent`."""
_MARK: Final = b',"00-'
"""How it begins in an entry; where another field of an item begins so, the entry is read once more for nothing."""

SEND_IN: Final = "send chat:in"
"""A gateway took a frame and put it into its partition's stream: the root of a message's or acknowledgement's trace."""
PROCESS_IN: Final = "process chat:in"
"""A worker handled it; also the whole batch, in a trace of its own, which links to those of its messages."""
COMMIT: Final = "commit"
SEND_GW: Final = "send chat:gw"
"""The publications to the gateways, with the look at the routes before."""
SETTLE_IN: Final = "settle chat:in"
"""It travels in one step with the publications, so it is as long."""
PROCESS_GW: Final = "process chat:gw"
"""A gateway read the publication, until the frame was written to one socket."""


class Context(NamedTuple):
    """A span as its children know it: the `traceparent` of W3C Trace Context, level 1, section 3.2."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits."""

    def encode(self) -> str:
        """Write a `traceparent`. Only what is sampled travels, so the flag is always set."""
        return f"00-{self.trace}-{self.span}-01"

    @classmethod
    def decode(cls, traceparent: str) -> Self | None:
        """Read a `traceparent`; None for what is none, or is not sampled. Later versions may add fields."""
        found = _TRACEPARENT(traceparent)
        if found is None:
            return None
        version, trace, span, flags = found.groups()
        more = len(traceparent) > len("00-") + 32 + len("-") + 16 + len("-01")
        if version == _INVALID_VERSION or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
            return None
        return cls(trace, span) if int(flags, 16) & _SAMPLED else None


def follows(conversation: ConversationId, now_s: float, ratio: float) -> bool:
    """Tell whether a conversation is followed at `now_s` (wall time), where `ratio` (0 to 1) of all are.

    By conversation and time, not by message: so all gateways agree without a word, and a message's acknowledgements
    are followed like the message, though nobody remembers it.
    """
    place = (int.from_bytes(conversation[8:], "big") + int(now_s / TURN_S) * _GOLDEN) % _SPACE
    return place < ratio * _SPACE


def traced_item(item: Any, traceparent: str) -> Any:
    """Let an item say that it is traced: by a trailing element that every version of a reader may leave alone."""
    return (*item, traceparent)


class Traced(NamedTuple):
    """An event of an entry that is traced."""

    traceparent: str
    user: UserId
    peer: UserId
    client_id: ClientId | None
    """None: it is an acknowledgement."""
    delivered: int = 0
    read: int = 0


def traced_of(raw: bytes) -> list[Traced]:
    """Give the events of an entry that are traced; none for an entry that is damaged.

    Apart from `stream.decode_entry`, so that only who traces pays for it, and little where nothing is traced.
    """
    if _MARK not in raw:
        return []
    try:
        items = orjson.loads(raw)[2]
        return [_traced(item) for item in items if len(item) > _TRACE and isinstance(item[_TRACE], str)]
    except (ValueError, TypeError, KeyError, IndexError):
        return []


def _traced(item: Any) -> Traced:
    _, _, user, _, peer, first, second = item[:7]
    if isinstance(first, str):
        return Traced(item[_TRACE], user, peer, ClientId(first))
    return Traced(item[_TRACE], user, peer, None, first, second)
