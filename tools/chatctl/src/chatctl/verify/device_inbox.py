"""Owns what a correct device does with each frame that comes: it applies by seq, keeps maxima, and records.

Changes the device's state and tells its `Witness` only; must never do I/O or look at a clock.
"""

from collections import Counter
from collections.abc import Callable

from chatctl.verify import history as h
from chatctl.verify.contract import FINAL_ERRORS, Frame
from chatctl.verify.device_state import ACK_GAP_S, OWN_ACK_S, DeviceState, Outgoing, Peer
from chatctl.verify.history import Witness, digest

MAX_ERRORS = 1_000
"""Error frames that a device remembers for tests; the newest fall away, the history has them all that matter."""


class Inbox:
    """The reading half of a device."""

    def __init__(self, *, user: str, state: DeviceState, witness: Witness, reads: bool) -> None:
        self._user = user
        self._state = state
        self._witness = witness
        self.reads = reads
        self.welcomed = False
        self.synced = False
        self.sync_count = 0
        self.errors: list[Frame] = []
        self.presence: dict[str, bool] = {}
        self.heard: Counter[str] = Counter()
        """How many frames of each type came."""
        self._takers: dict[str, Callable[[Frame, float], None]] = {
            "welcome": self._take_welcome,
            "sync": self._take_sync,
            "message": self._take_message,
            "sent": self._take_sent,
            "receipt": self._take_receipt,
            "history": self._take_history,
            "presence": self._take_presence,
            "error": self._take_error,
            "goaway": lambda frame, _now: witness.saw(h.GoneAway, frame["reconnect_after_ms"]),
        }

    def begin_connection(self) -> None:
        """Expect a `welcome` and a sync."""
        self.welcomed = self.synced = False

    def take(self, frame: Frame, now: float) -> None:
        """Apply one frame."""
        self.heard[frame["type"]] += 1
        taker = self._takers.get(frame["type"])
        if taker is not None:
            taker(frame, now)

    def _take_welcome(self, frame: Frame, _now: float) -> None:
        self._state.forget_database(frame["epoch"])
        self._witness.saw(h.Welcomed, frame["gateway"], frame["epoch"], float(frame["limits"]["presence_ttl_s"]))
        self.welcomed = True

    def _take_sync(self, frame: Frame, now: float) -> None:
        for named in frame["conversations"]:
            self._take_conversation(named, now)
        for message in frame["messages"]:
            self._take_message(message, now, "sync")
        if frame["done"]:
            self._witness.saw(h.SyncDone, digest(frame["token"]))
            self._state.since = frame["token"]
            self.synced = True
            self.sync_count += 1
            for peer in self._state.peers.values():
                self._repeat_unconfirmed(peer)

    @staticmethod
    def _repeat_unconfirmed(peer: Peer) -> None:
        # What was said before this sync and is not confirmed by it may be lost with Redis: it is said again.
        peer.acked = (0, 0)
        if peer.owes_ack():
            peer.due_at = 0.0

    def _take_conversation(self, named: Frame, now: float) -> None:
        name = named["peer"]
        marks = (named["last"], named["cursor"], named["read"], named["peer_delivered"], named["peer_read"])
        self._witness.saw(h.Synced, name, *marks)
        self._claim(self._user, name, named["cursor"], named["read"])
        self._claim(name, self._user, named["peer_delivered"], named["peer_read"])
        peer = self._state.peer(name)
        peer.begin(named["cursor"])
        peer.own_read = max(peer.own_read, named["read"])
        peer.confirmed_read = max(peer.confirmed_read, named["read"])
        self._raise_peer_marks(peer, named["peer_delivered"], named["peer_read"])
        if peer.owes_ack():
            peer.due_at = now

    def _take_message(self, message: Frame, now: float, how: str = "live") -> None:
        name, sender = message["peer"], message["from"]
        seen = (name, sender, message["seq"], message["id"], message["ts"], digest(message["body"]), how)
        self._witness.saw(h.Seen, *seen)
        peer = self._state.peer(name)
        if peer.hold(message["seq"], message["id"]):
            if self.reads and sender != self._user:
                peer.own_read = peer.cursor
            self._owe_ack(peer, now + (OWN_ACK_S if sender == self._user else 0))

    @staticmethod
    def _owe_ack(peer: Peer, due_at: float) -> None:
        peer.due_at = due_at if peer.due_at is None else min(peer.due_at, due_at)

    def _take_sent(self, frame: Frame, now: float) -> None:
        name = frame["peer"]
        self._witness.saw(h.Sent, name, frame["id"], frame["seq"], frame["ts"])
        out: Outgoing | None = self._state.answered(frame["id"])
        self._state.sent[frame["id"]] = frame
        peer = self._state.peer(name)
        if peer.hold(frame["seq"], frame["id"]) or out is not None:
            self._owe_ack(peer, now + OWN_ACK_S)

    def _take_receipt(self, frame: Frame, _now: float) -> None:
        other = frame["peer"] if frame["user"] == self._user else self._user
        self._claim(frame["user"], other, frame["delivered"], frame["read"])
        peer = self._state.peer(frame["peer"])
        if frame["user"] == self._user:
            peer.own_read = max(peer.own_read, min(frame["read"], peer.cursor))
            peer.confirmed_read = max(peer.confirmed_read, frame["read"])
        else:
            self._raise_peer_marks(peer, frame["delivered"], frame["read"])

    def _take_history(self, frame: Frame, now: float) -> None:
        for message in frame["messages"]:
            self._take_message(message, now, "history")
            self._take_state(frame["peer"], message)
        self._state.peer(frame["peer"]).asked_at = None

    def _take_state(self, name: str, message: Frame) -> None:
        """A message's state says what its recipient must have said."""
        recipient, sender = (name, self._user) if message["from"] == self._user else (self._user, name)
        if message["state"] in ("delivered", "read"):
            self._claim(recipient, sender, message["seq"], message["seq"] if message["state"] == "read" else 0)
        elif message["state"] == "sent":
            self._claim(sender, recipient, message["seq"], 0)

    def _take_presence(self, frame: Frame, _now: float) -> None:
        self._witness.saw(h.PresenceTold, frame["user"], frame["online"])
        self.presence[frame["user"]] = frame["online"]

    def _take_error(self, frame: Frame, now: float) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(frame)
        ref = frame.get("ref")
        out = self._state.outbox.get(ref) if ref else None
        if out is None or ref is None:
            return
        final = frame["code"] in FINAL_ERRORS
        self._witness.saw(h.Refusal, out.peer, ref, frame["code"], final)
        if final:
            self._state.failed[ref] = frame["code"]
            self._state.answered(ref)
        else:
            self._state.refused(ref, now + max(frame["retry_after_ms"] / 1000, ACK_GAP_S))

    def _claim(self, of: str, other: str, delivered: int, read: int) -> None:
        self._witness.saw(h.Claimed, of, other, delivered, read)

    @staticmethod
    def _raise_peer_marks(peer: Peer, delivered: int, read: int) -> None:
        peer.peer_delivered = max(peer.peer_delivered, delivered)
        peer.peer_read = max(peer.peer_read, read)
