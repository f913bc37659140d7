"""Owns the end of a run: what the server gives out, what lies in its stores, and what the devices hold. Pure values.

What nobody could read is None, and the properties that need it are skipped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chatctl.verify.history import Pair


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as a log has it."""

    seq: int
    sender: str
    id: str
    ts: int
    digest: str
    state: str = ""
    """As a page of history says; empty where it comes from MySQL."""


Log = Sequence[Entry]


@dataclass(frozen=True, slots=True)
class DeviceEnd:
    """What a device knows in the end, per peer: where it started, its cursor and the marks of the peer."""

    user: str
    device: str
    start: Mapping[str, int]
    cursor: Mapping[str, int]
    own_read: Mapping[str, int]
    peer_delivered: Mapping[str, int]
    peer_read: Mapping[str, int]
    held: Mapping[str, Mapping[int, str]]
    """Per peer: seq to message id."""
    unanswered: frozenset[str]
    came_late: bool = False
    """It was away until the run had ended, and finished one sync since."""


@dataclass(frozen=True, slots=True)
class MemberEnd:
    """A user's row of a conversation in MySQL."""

    user: str
    peer: str
    last: int
    delivered: int
    read: int
    peer_delivered: int
    peer_read: int


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """What is left in one stream of Redis."""

    name: str
    entries: int
    pending: int


@dataclass(frozen=True, slots=True)
class FinalState:
    """The end of a run."""

    logs: Mapping[Pair, Log]
    """Per conversation, as `history` gives it to the first of the two users."""
    devices: Sequence[DeviceEnd]
    mirrors: Mapping[Pair, Log] = field(default_factory=dict)
    """The same as `history` gives it to the second."""
    fresh: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per user, what the sync of a device that never was before says: peer to last seq."""
    listed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per user, what `conversations` says: peer to last seq."""
    rows: Mapping[Pair, Log] | None = None
    """Per conversation, as MySQL has it."""
    members: Sequence[MemberEnd] | None = None
    streams: Sequence[StreamEnd] | None = None
    dead: Sequence[str] | None = None
    """Dead letters, as their reasons."""
    early: Sequence[str] | None = None
    """Events that had left their stream while MySQL held nothing of them: settled before their commit."""
    stale: Sequence[str] | None = None
    """Writes by a worker that was not the partition's owner when it wrote."""
    online: Mapping[str, tuple[bool, bool]] | None = None
    """Per user: what a new watcher was told, and what is true."""
