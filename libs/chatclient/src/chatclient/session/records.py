"""What a device must remember over a restart, and the snapshot it is loaded from.

Values only; where they are kept is the state's business.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """All that outlives a run about one conversation (PROTOCOL section 6, rules 1 and 5)."""

    peer: str
    cursor: int = 0
    read: int = 0
    peer_delivered: int = 0
    peer_read: int = 0
    confirmed_cursor: int = 0
    confirmed_read: int = 0


@dataclass(frozen=True, slots=True)
class OutboxAdded:
    """A message that was not answered yet, in the order of sending."""

    id: str
    to: str
    body: str


@dataclass(frozen=True, slots=True)
class OutboxRemoved:
    """A message that was answered: committed, or refused for good."""

    id: str
    to: str


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """The token of the last finished sync, and the epoch of the database it belongs to."""

    epoch: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Cursors, marks and token are void: the database was restored. The outbox stays."""


Record = PeerRecord | OutboxAdded | OutboxRemoved | SyncRecord | Forgotten


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a state holds when a session starts."""

    peers: tuple[PeerRecord, ...] = ()
    outbox: tuple[OutboxAdded, ...] = ()
    sync: SyncRecord = SyncRecord(epoch=None, token=None)
