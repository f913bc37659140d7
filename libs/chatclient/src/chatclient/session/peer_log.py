"""One conversation as this device holds it: the contiguous cursor, what waits ahead, and the marks.

Owns rules 1 and 5 of PROTOCOL section 6 for one peer. Never decides when something is sent.
"""

from collections import deque
from typing import Any

from chatclient.events import Marks, Message
from chatclient.session.limits import HELD_MAX
from chatclient.session.records import PeerRecord


class PeerLog:
    """What is held of the conversation with one peer.

    `given` is the highest seq up to which everything was handed on, `cursor` the highest up to
    which the application took it: only the latter is safely held, and may be acknowledged.
    """

    def __init__(self, record: PeerRecord, *, known: bool) -> None:
        self.peer = record.peer
        self.known = known
        self.given = record.cursor
        self.last = record.cursor
        self.read = record.read
        self.peer_delivered = record.peer_delivered
        self.peer_read = record.peer_read
        self.confirmed_cursor = record.confirmed_cursor
        self.confirmed_read = record.confirmed_read
        self.kept = record if known else None
        self._held: dict[int, Message | None] = {}
        self._untaken: deque[int] = deque()

    @property
    def cursor(self) -> int:
        """The highest seq up to which all is safely held."""
        return self._untaken[0] - 1 if self._untaken else self.given

    @property
    def readable(self) -> int:
        """The read mark as far as it may be acknowledged, since it implies delivery."""
        return min(self.read, self.cursor)

    @property
    def has_hole(self) -> bool:
        """Whether a message is known to exist that is not held."""
        return self.known and self.given < self.last

    def place(self, seq: int, message: Message | None) -> list[Message]:
        """Put an entry at its place; None stands for a message of this device's own.

        Return the messages that became contiguous, in order: they are now given.
        """
        self.last = max(self.last, seq)
        if seq <= self.given or seq in self._held:
            return []
        self._held[seq] = message
        given = self.advance()
        if len(self._held) > HELD_MAX:
            del self._held[max(self._held)]
        return given

    def pass_over(self, seq: int) -> list[Message]:
        """Know of an entry without holding it: there is no room, and history has it."""
        self.last = max(self.last, seq)
        return []

    def advance(self) -> list[Message]:
        """Give what is contiguous; nothing as long as the starting point is unknown."""
        out: list[Message] = []
        while self.known and self.given + 1 in self._held:
            self.given += 1
            message = self._held.pop(self.given)
            if message is not None:
                self._untaken.append(self.given)
                out.append(message)
        return out

    def take(self, seq: int) -> int:
        """The application took everything up to `seq`; return how many messages that were."""
        before = len(self._untaken)
        while self._untaken and self._untaken[0] <= seq:
            self._untaken.popleft()
        return before - len(self._untaken)

    def begin(self, cursor: int) -> None:
        """Fix the starting point of a conversation that this device did not know."""
        if self.known:
            return
        self.known = True
        self.given = max(self.given, cursor)
        self.last = max(self.last, self.given)
        # What the user had read was there; a larger number would make messages read that nobody saw.
        self.read = min(self.read, self.last)
        self._held = {seq: message for seq, message in self._held.items() if seq > self.given}

    def name(self, item: dict[str, Any]) -> None:
        """Take over a conversation as a sync names it."""
        self.last = max(self.last, item["last"])
        self.begin(item["cursor"])
        self.confirmed_cursor = max(self.confirmed_cursor, item["cursor"])
        self.own_read(item["read"])
        self.peer_marks(delivered=item["peer_delivered"], read=item["peer_read"])

    def own_read(self, read: int) -> None:
        """The server says how far the user has read, on this device or another."""
        self.read = max(self.read, read)
        self.confirmed_read = max(self.confirmed_read, read)

    def peer_marks(self, *, delivered: int, read: int) -> None:
        """The server says what the peer has; a late frame may carry less, so keep the maximum."""
        self.peer_read = max(self.peer_read, read)
        self.peer_delivered = max(self.peer_delivered, delivered, read)

    def marks(self) -> Marks:
        """The marks as far as their messages were given: what is ahead of them is held back."""
        return Marks(
            cursor=self.cursor,
            read=min(self.read, self.given),
            peer_delivered=min(self.peer_delivered, self.given),
            peer_read=min(self.peer_read, self.given),
        )

    def record(self) -> PeerRecord:
        """What must outlive this run."""
        return PeerRecord(
            peer=self.peer,
            cursor=self.cursor,
            read=self.read,
            peer_delivered=self.peer_delivered,
            peer_read=self.peer_read,
            confirmed_cursor=self.confirmed_cursor,
            confirmed_read=self.confirmed_read,
        )
