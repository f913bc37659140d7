"""Owns what an owner remembers of a conversation between batches. Pure.

Everything here is a copy of committed rows: it may be forgotten at any moment, and must be after any outcome of a
COMMIT but an answered one (R1b).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from chatcore.ids import DeviceId, Seq, UserId

KNOWN_IDS: Final = 32
"""Client ids remembered per conversation: a retry comes soon or is looked up in MySQL, so more would buy nothing."""
KNOWN_CURSORS: Final = 64
"""Device cursors remembered per conversation: 20 devices of either user, and room for devices that were replaced."""
KNOWN_AUTHORS: Final = 512
"""Messages per conversation whose author is remembered, to tell whether a rising mark covers one of the peer's."""

START: Final = Seq(0)
NOTHING: Final[Mapping[Any, Any]] = {}
LOW: Final = 0
HIGH: Final = 1


class Known(NamedTuple):
    """A client id that is taken. It may only ever say yes: an id that is not known may be taken all the same (R1a)."""

    seq: Seq
    ts: int
    """Milliseconds of MySQL's clock, as every answer for this id says."""
    digest: int
    """`digest_of` the body."""
    device: DeviceId
    replay: bool
    """It was read from MySQL, so nobody knows whether the message was published: publish it to everybody again (R3)."""


class Conversation(NamedTuple):
    """The state of a conversation. Pairs hold the value of the lower user id first."""

    users: tuple[UserId, UserId]
    last: Seq = START
    last_ts: int = 0
    delivered: tuple[Seq, Seq] = (START, START)
    read: tuple[Seq, Seq] = (START, START)
    told: tuple[bool, bool] = (True, True)
    """Whether this owner published each side's marks, or made the conversation itself. Of what it read from MySQL
    nobody knows: the owner before it may have died between its commit and its publication."""
    known: Mapping[tuple[int, str], Known] = NOTHING
    """By side and client id, oldest first, at most `KNOWN_IDS`."""
    cursors: Mapping[tuple[int, str], int] = NOTHING
    """By side and device: a cursor that is stored already. What is missing may be stored too."""
    floor: Seq = START
    """Authors are known of the messages above it."""
    authors: bytes = b""
    """One byte, `LOW` or `HIGH`, for each message above `floor`."""

    def side_of(self, user: str) -> int:
        """Give `LOW` or `HIGH`. Raises `ValueError` for a user who is not part of the conversation."""
        return self.users.index(user)

    def covers(self, side: int, above: int, upto: int) -> bool:
        """Tell whether a message of `side` has a number in (above, upto]; yes where nobody remembers."""
        if above < self.floor:
            return upto > above
        return side in self.authors[above - self.floor : upto - self.floor]


def new_conversation(one: str, other: str) -> Conversation:
    """Make the state of a conversation that has no row yet."""
    low, high = (one, other) if one < other else (other, one)
    return Conversation(users=(UserId(low), UserId(high)))


def digest_of(body: str) -> int:
    """Tell bodies apart within this process: 64 bits of SipHash under a key that is random per process start.

    Python has computed it by the time a body was hashed once; equal digests of different bodies are a matter of
    2**64 tries by somebody who cannot see them, and would harm that sender's own retry alone.
    """
    return hash(body)
