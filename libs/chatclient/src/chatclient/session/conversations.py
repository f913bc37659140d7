"""All conversations of the device: what frames do to them, their holes and their acknowledgements.

Owns rules 1, 2 and 5 of PROTOCOL section 6. Never touches the connection: it returns effects.
"""

from collections.abc import Container
from typing import Any

from chatclient.events import Marks, Message, Receipt, read_message
from chatclient.session.acks import Acks
from chatclient.session.effects import Effect, Keep, Tell, Write
from chatclient.session.limits import HOLE_PAGE, HOLE_S, UNTAKEN_MAX
from chatclient.session.peer_log import PeerLog
from chatclient.session.records import PeerRecord


class Conversations:
    """The logs by peer. Until the first sync finished, a peer's starting point may be unknown."""

    def __init__(self, records: tuple[PeerRecord, ...], *, untaken_max: int = UNTAKEN_MAX) -> None:
        self._logs = {record.peer: PeerLog(record, known=True) for record in records}
        self._holes: dict[str, float] = {}
        self._asked: set[str] = set()
        self._cramped: set[str] = set()
        self._said: dict[str, tuple[int, int]] = {}
        self._untaken = 0
        self._untaken_max = untaken_max
        self.acks = Acks()
        self.synced = False
        self.user = ""

    def marks(self, peer: str) -> Marks:
        """The watermarks in the conversation with `peer`; all 0 for a stranger."""
        log = self._logs.get(peer)
        return Marks() if log is None else log.marks()

    @property
    def hole_due(self) -> float | None:
        """When a hole has stayed long enough to be asked for."""
        return min(self._holes.values(), default=None)

    def disconnect(self) -> None:
        """The connection is gone: the next sync decides what is missing."""
        self.synced = False
        self._holes.clear()
        self._asked.clear()
        self._cramped.clear()
        self._said.clear()
        self.acks.reset()

    def forget(self) -> None:
        """The database was restored: nothing known of it holds any more."""
        self._logs.clear()
        self._untaken = 0
        self.disconnect()

    def sync(self, frame: dict[str, Any], own: Container[tuple[str, str]], now: float) -> list[Effect]:
        """Apply a page of a sync; `own` names this device's messages without an answer."""
        out: list[Effect] = []
        for item in frame.get("conversations", ()):
            log = self._log(item["peer"])
            before = (log.record(), log.marks())
            log.name(item)
            out += self._rose(log, before, log.advance(), now)
        for message in frame.get("messages", ()):
            out += self.message(message, own, now)
        if frame["done"]:
            out += self._finish(now)
        return out

    def message(self, frame: dict[str, Any], own: Container[tuple[str, str]], now: float) -> list[Effect]:
        """Apply a message; one of this device's own that waits for its answer is no news."""
        message = read_message(frame, frame["peer"])
        ours = message.sender == self.user and (message.peer, message.id) in own
        return self._place(message.peer, message.seq, None if ours else message, now)

    def sent(self, peer: str, seq: int, now: float) -> list[Effect]:
        """Apply `sent`, which counts as holding one's own message (rule 2)."""
        return self._place(peer, seq, None, now)

    def receipt(self, frame: dict[str, Any], now: float) -> list[Effect]:
        """Apply a receipt of the peer's, or of another device of the user."""
        log = self._log(frame["peer"])
        before = (log.record(), log.marks())
        if frame["user"] == log.peer:
            log.peer_marks(delivered=frame["delivered"], read=frame["read"])
        else:
            log.own_read(frame["read"])
        return self._rose(log, before, [], now)

    def mark_read(self, peer: str, seq: int, now: float) -> list[Effect]:
        """The user has read up to `seq`; what is not held yet is acknowledged when it is."""
        log = self._log(peer)
        # An acknowledged future would make messages read that nobody saw.
        seq = min(seq, log.last) if log.known else seq
        if seq <= log.read:
            return []
        log.read = seq
        self.acks.incoming(peer, now)
        return self._keep(log)

    def take(self, peer: str, seq: int, now: float) -> list[Effect]:
        """The application took a message: it is safely held."""
        log = self._log(peer)
        cursor = log.cursor
        self._untaken -= log.take(seq)
        if self._cramped and 2 * self._untaken <= self._untaken_max:
            self._holes |= dict.fromkeys(self._cramped, now)
            self._cramped.clear()
        if log.cursor == cursor:
            return []
        self.acks.incoming(peer, now)
        return self._keep(log)

    def acknowledge(self, now: float) -> list[Effect]:
        """Write the acknowledgements that are due."""
        return [ack for peer in self.acks.collect(now) for ack in self._acks(self._log(peer))]

    def holes(self, now: float) -> list[dict[str, Any]]:
        """Make the history requests for holes that stayed, one per peer until it was answered."""
        out = []
        for peer in [peer for peer, due in self._holes.items() if due <= now]:
            del self._holes[peer]
            if self._untaken + HOLE_PAGE * len(self._asked) >= self._untaken_max:
                self._cramped.add(peer)  # until the application takes: there is no room for what it would bring
                continue
            log = self._logs[peer]
            if log.has_hole:
                self._asked.add(peer)
                out.append({"type": "history", "peer": peer, "after": log.given, "limit": HOLE_PAGE})
        return out

    def fill(self, frame: dict[str, Any], own: Container[tuple[str, str]], now: float) -> list[Effect]:
        """Apply the page of history that was asked for a hole; ask on while it brings something."""
        peer = frame["peer"]
        given = self._log(peer).given
        self._asked.discard(peer)
        out: list[Effect] = []
        for message in frame["messages"]:
            out += self.message({**message, "peer": peer}, own, now)
        log = self._log(peer)
        self._holes.pop(peer, None)
        if log.has_hole:
            self._holes[peer] = now if log.given > given else now + HOLE_S
        return out

    def look_again(self, peer: str, now: float) -> None:
        """A request for a hole failed: look at it again later."""
        self._asked.discard(peer)
        self._holes[peer] = now + HOLE_S

    def _log(self, peer: str) -> PeerLog:
        log = self._logs.get(peer)
        if log is None:
            log = PeerLog(PeerRecord(peer), known=self.synced)
            self._logs[peer] = log
        return log

    def _place(self, peer: str, seq: int, message: Message | None, now: float) -> list[Effect]:
        log = self._log(peer)
        before = (log.record(), log.marks())
        full = message is not None and self._untaken >= self._untaken_max
        return self._rose(log, before, log.pass_over(seq) if full else log.place(seq, message), now)

    def _rose(self, log: PeerLog, before: tuple[PeerRecord, Marks], given: list[Message], now: float) -> list[Effect]:
        """Turn what changed in a log into effects: what to keep first, then what to tell."""
        out = self._keep(log)
        record, marks = log.record(), log.marks()
        if record.cursor > before[0].cursor:
            self.acks.own(log.peer, now)
        self._untaken += len(given)
        out += [Tell(message) for message in given]
        out += [Tell(receipt) for receipt in self._receipts(log.peer, before[1], marks)]
        self._mind_hole(log, now)
        return out

    def _keep(self, log: PeerLog) -> list[Effect]:
        """Keep the record if it changed; one without a starting point would come back at 0."""
        record = log.record()
        if not log.known or record == log.kept:
            return []
        log.kept = record
        return [Keep(record)]

    def _receipts(self, peer: str, old: Marks, new: Marks) -> list[Receipt]:
        out = []
        if (new.peer_delivered, new.peer_read) != (old.peer_delivered, old.peer_read):
            out.append(Receipt(peer, peer, new.peer_delivered, new.peer_read))
        if new.read != old.read:
            out.append(Receipt(peer, self.user, new.cursor, new.read))
        return out

    def _mind_hole(self, log: PeerLog, now: float) -> None:
        if log.peer in self._asked or log.peer in self._cramped:
            return
        if self.synced and log.has_hole:
            self._holes.setdefault(log.peer, now + HOLE_S)
        else:
            self._holes.pop(log.peer, None)

    def _finish(self, now: float) -> list[Effect]:
        out: list[Effect] = []
        self.synced = True
        self._said.clear()  # whatever was said and is not confirmed may be lost
        for log in self._logs.values():
            before = (log.record(), log.marks())
            log.begin(0)
            out += self._rose(log, before, log.advance(), now)
            out += self._acks(log)
        return out

    def _acks(self, log: PeerLog) -> list[Effect]:
        """Acknowledge what the server has neither confirmed (rule 5) nor been told since the last sync."""
        if not log.known:
            return []
        out: list[Effect] = []
        cursor, readable = log.cursor, log.readable
        said_cursor, said_read = self._said.get(log.peer, (0, 0))
        reads = readable > max(log.confirmed_read, said_read)
        if cursor > max(log.confirmed_cursor, said_cursor) and not (reads and readable == cursor):
            out.append(Write({"type": "delivery_ack", "peer": log.peer, "seq": cursor}))
        if reads:
            out.append(Write({"type": "read_ack", "peer": log.peer, "seq": readable}))
        self._said[log.peer] = (cursor, readable)
        return out
