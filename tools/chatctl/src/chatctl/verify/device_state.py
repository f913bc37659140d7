"""Owns what a correct device knows: cursors, marks, what it holds, what it still owes. PROTOCOL section 6.

Pure state and its transitions; must never do I/O or look at a clock (times are arguments).
"""

from dataclasses import dataclass, field
from typing import Final

from chatctl.verify.contract import Frame

ACK_GAP_S: Final = 0.05
OWN_ACK_S: Final = 1.0
HOLE_S: Final = 2.0
ANSWER_S: Final = 10.0


@dataclass(slots=True)
class Peer:
    """One conversation as this device knows it."""

    cursor: int = 0
    start: int | None = None
    held: dict[int, str] = field(default_factory=dict)
    ahead: dict[int, str] = field(default_factory=dict)
    own_read: int = 0
    peer_delivered: int = 0
    peer_read: int = 0
    confirmed_cursor: int = 0
    confirmed_read: int = 0
    acked: tuple[int, int] = (0, 0)
    """Cursor and read mark as acknowledged on this connection."""
    due_at: float | None = None
    hole_since: float | None = None
    asked_at: float | None = None

    def hold(self, seq: int, client_id: str) -> bool:
        """Take a message; says whether the contiguous cursor moved."""
        if seq <= self.cursor:
            self.held.setdefault(seq, client_id)
            return False
        self.ahead[seq] = client_id
        moved = False
        while self.cursor + 1 in self.ahead:
            self.cursor += 1
            self.held[self.cursor] = self.ahead.pop(self.cursor)
            moved = True
        return moved

    def begin(self, cursor: int) -> None:
        """Start at, or jump to, the cursor that a sync names: the server owes nothing up to it."""
        if self.start is None:
            self.start = cursor
        if cursor > self.cursor:
            self.cursor = cursor
            for seq in [seq for seq in self.ahead if seq <= cursor]:
                self.held[seq] = self.ahead.pop(seq)
            while self.cursor + 1 in self.ahead:
                self.cursor += 1
                self.held[self.cursor] = self.ahead.pop(self.cursor)
        self.confirmed_cursor = max(self.confirmed_cursor, cursor)

    def owes_ack(self) -> bool:
        """Whether this connection has not yet carried what no server frame has confirmed."""
        return (self.cursor > self.acked[0] and self.cursor > self.confirmed_cursor) or (
            self.own_read > self.acked[1] and self.own_read > self.confirmed_read
        )

    def forget_connection(self) -> None:
        """What was said on a connection that ended may be lost."""
        self.acked = (0, 0)
        self.due_at = self.hole_since = self.asked_at = None


@dataclass(slots=True)
class Outgoing:
    """A send without a final answer."""

    peer: str
    body: str
    sent_at: float | None = None
    retry_at: float | None = None
    refused: bool = False
    """Refused with retry_after_ms on this connection and not answered since: later ones to the peer wait."""

    def is_due(self, now: float, *, room: bool) -> bool:
        """Whether to transmit now; `room` says whether the window takes a new one."""
        if self.retry_at is not None:
            return now >= self.retry_at
        if self.sent_at is None:
            return room
        return now - self.sent_at >= ANSWER_S

    def forget_connection(self) -> None:
        """Nothing of this is known to have arrived."""
        self.sent_at = self.retry_at = None
        self.refused = False


@dataclass(slots=True)
class DeviceState:
    """All that a device keeps over its connections."""

    peers: dict[str, Peer] = field(default_factory=dict)
    outbox: dict[str, Outgoing] = field(default_factory=dict)
    since: str | None = None
    epoch: str | None = None
    sent: dict[str, Frame] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def peer(self, name: str) -> Peer:
        """Return the conversation with that user, a new one at 0."""
        return self.peers.setdefault(name, Peer())

    def forget_connection(self) -> None:
        """Make everything unanswered due again, in the order of sending."""
        for outgoing in self.outbox.values():
            outgoing.forget_connection()
        for peer in self.peers.values():
            peer.forget_connection()

    def forget_database(self, epoch: str) -> None:
        """Follow a new epoch: drop cursors, marks and messages, keep the outbox."""
        if self.epoch is not None and self.epoch != epoch:
            self.peers.clear()
            self.since = None
        self.epoch = epoch

    def due_sends(self, now: float, window: int) -> list[str]:
        """Name the sends to transmit now, in order: new ones within the window, unanswered and refused ones again."""
        in_flight = sum(1 for out in self.outbox.values() if out.sent_at is not None)
        held: set[str] = set()
        due: list[str] = []
        for client_id, out in self.outbox.items():
            if out.peer in held:
                continue
            if out.refused:
                held.add(out.peer)
            if out.is_due(now, room=in_flight < window):
                in_flight += out.sent_at is None
                due.append(client_id)
        return due

    def mark_transmitted(self, client_id: str, now: float) -> None:
        """Note that a send is on its way."""
        self.outbox[client_id].sent_at = now
        self.outbox[client_id].retry_at = None

    def refused(self, client_id: str, retry_at: float) -> None:
        """Hold the later sends to that peer until this one is answered."""
        out = self.outbox.get(client_id)
        if out is not None:
            out.retry_at = retry_at
            out.refused = True

    def answered(self, client_id: str) -> Outgoing | None:
        """Take a send out of the outbox: `sent` or a final error came."""
        return self.outbox.pop(client_id, None)
