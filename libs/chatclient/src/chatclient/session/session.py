"""A device's session: what every input does to it, and what it wants done (PROTOCOL section 6).

Wires connection, conversations, outbox and requests. Never reads a clock and never performs anything:
`handle` takes the time, and returns effects in the order in which they must be performed.
"""

from typing import Any

from chatclient.events import Connected, Disconnected, EpochChanged, Event, Marks, Presence, Sent, SyncDone, Typing
from chatclient.session import inputs as i
from chatclient.session.conversations import Conversations
from chatclient.session.effects import Answer, Dial, Effect, End, HangUp, Keep, Reject, Settle, Tell, Write
from chatclient.session.limits import UNTAKEN_MAX, ServerLimits, read_limits
from chatclient.session.link import Link, Phase
from chatclient.session.outbox import Outbox
from chatclient.session.records import Forgotten, OutboxAdded, OutboxRemoved, Snapshot, SyncRecord
from chatclient.session.requests import Requests
from chatclient.session.watch import WATCH, Watch

AUTH = "auth"
"""The `ref` of the renewal; an application's requests are numbered."""


class Session:
    """The state of one device; `renewable` tells whether another token can be had.

    Times are seconds of any monotonic clock. After every `handle`, `wake_at` says when a `Ticked`
    is wanted at the latest.
    """

    def __init__(self, snapshot: Snapshot, *, renewable: bool = False, untaken_max: int = UNTAKEN_MAX) -> None:
        self.limits = ServerLimits()
        self._link = Link(renewable=renewable)
        self._conversations = Conversations(snapshot.peers, untaken_max=untaken_max)
        self._outbox = Outbox(snapshot.outbox)
        self._requests = Requests()
        self._sync = snapshot.sync
        self._hole_refs: dict[str, str] = {}
        self._hole_count = 0
        self._watch = Watch()

    @property
    def unanswered(self) -> int:
        """How many messages wait in the outbox."""
        return len(self._outbox)

    @property
    def requested(self) -> int:
        """How many requests wait for their answer."""
        return len(self._requests)

    def watched_with(self, users: tuple[str, ...]) -> int:
        """How many users' presence would be subscribed with these."""
        return self._watch.size_with(users)

    @property
    def synced(self) -> bool:
        """Whether the sync of this connection is finished."""
        return self._conversations.synced

    def unsent(self) -> tuple[OutboxAdded, ...]:
        """The messages without an answer, in the order of sending."""
        return self._outbox.messages()

    def marks(self, peer: str) -> Marks:
        """The watermarks in the conversation with `peer`."""
        return self._conversations.marks(peer)

    @property
    def wake_at(self) -> float | None:
        """When `Ticked` is wanted at the latest; None when only an input can change anything."""
        dues = [self._link.due]
        if self._link.online:
            conversations = self._conversations
            dues += [self._outbox.due, self._requests.due, self._watch.due]
            dues += [conversations.acks.due, conversations.hole_due]
        return min((due for due in dues if due is not None), default=None)

    def handle(self, event: i.Input, now: float) -> list[Effect]:
        """Apply an input; return what is to be done, in order."""
        if self._link.phase is Phase.OVER:
            return []
        out = self._apply(event, now)
        if self._link.expired(now):
            self._link.leave()
            out.append(HangUp())
        if self._link.ready(now):
            self._link.dial(now)
            out.append(Dial(self._sync.token))
        if self._link.online:
            out += self._pump(now)
        return out

    def _apply(self, event: i.Input, now: float) -> list[Effect]:
        match event:
            case i.Arrived(frame):
                return self._arrived(frame, now)
            case i.Heard():
                self._link.heard(now)
            case i.Started():
                self._link.dial(now)
                return [Dial(self._sync.token)]
            case i.Refusal(status, code, luck, retry_after_s):
                final = self._link.refused(status, code, retry_after_s, luck, now)
                return self._lost(code, final, now)
            case i.Lost(close_code, luck):
                final = self._link.lost(close_code, luck, now)
                return self._lost(f"closed with {close_code or 'no code'}", final, now)
            case i.Ticked():
                pass
            case i.Closing():
                self._conversations.acks.hurry(now)
            case _:
                return self._asked(event, now)
        return []

    def _asked(self, event: i.Input, now: float) -> list[Effect]:
        """Apply what the application wants."""
        match event:
            case i.Submitted(id_, to, body):
                message = OutboxAdded(id=id_, to=to, body=body)
                if (to, id_) in self._outbox:
                    return []
                self._outbox.add(message, now)
                return [Keep(message)]
            case i.Taken(peer, seq):
                return self._conversations.take(peer, seq, now)
            case i.MarkedRead(peer, seq):
                return self._conversations.mark_read(peer, seq, now)
            case i.Asked(ref, frame):
                self._requests.ask(ref, frame)
            case i.Dropped(ref):
                self._requests.drop(ref)
            case i.Renewed(token):
                # Between connections there is nothing to renew: the next handshake takes a new token.
                if self._link.online:
                    self._requests.ask(AUTH, {"type": "auth", "token": token})
            case _:
                return [Write(frame) for frame in self._soft(event)]
        return []

    def _soft(self, event: i.Input) -> list[dict[str, Any]]:
        """Make the frames of what is worth nothing without a connection, or said again on the next."""
        match event:
            case i.Typed(peer):
                return [{"type": "typing", "to": peer}] if self._link.online else []
            case i.Watched(users):
                return self._watch.add(users)
            case i.Unwatched(users):
                return self._watch.remove(users)
        return []

    def _arrived(self, frame: dict[str, Any], now: float) -> list[Effect]:
        if self._link.phase is Phase.LEAVING:
            return []
        kind = frame.get("type")
        if kind == "welcome":
            return self._welcome(frame, now)
        if not self._link.online:
            return []  # nothing may come before `welcome`, and nothing is lost by leaving it to the sync
        self._link.heard(now)
        conversations = self._conversations
        match kind:
            case "message":
                return conversations.message(frame, self._outbox, now)
            case "receipt":
                return conversations.receipt(frame, now)
            case "sync":
                return self._synced(frame, now)
            case "sent":
                return self._sent(frame, now)
            case "history" | "conversations":
                return self._answered(frame, now)
            case "error":
                return self._failed(frame, now)
        return self._said(frame, now)

    def _said(self, frame: dict[str, Any], now: float) -> list[Effect]:
        """Apply what stands beside the conversations; an unknown type is ignored."""
        event: Event
        match frame.get("type"):
            case "presence":
                event = Presence(frame["user"], frame["online"], frame.get("last_seen"))
            case "typing":
                event = Typing(frame["peer"])
            case "goaway":
                self._link.goaway(frame.get("reconnect_after_ms", 0) / 1000, now)
                return []
            case "auth_ok":
                self._requests.drop(AUTH)
                return []
            case _:
                return []
        return [Tell(event)]

    def _welcome(self, frame: dict[str, Any], now: float) -> list[Effect]:
        out: list[Effect] = []
        self._link.welcome(now)
        self.limits = read_limits(frame)
        self._conversations.user = frame["user"]
        epoch = frame["epoch"]
        if self._sync.epoch not in (None, epoch):
            self._conversations.forget()
            out += [Keep(Forgotten()), Tell(EpochChanged())]
        if self._sync.epoch != epoch:
            self._sync = SyncRecord(epoch=epoch, token=None)
            out.append(Keep(self._sync))
        self._outbox.open(self.limits, now)
        self._requests.open()
        self._watch.open(now)
        return [*out, Tell(Connected(frame["user"], frame["device"], frame["gateway"]))]

    def _synced(self, frame: dict[str, Any], now: float) -> list[Effect]:
        out = self._conversations.sync(frame, self._outbox, now)
        if not frame["done"]:
            return out
        self._link.steady()
        self._sync = SyncRecord(epoch=self._sync.epoch, token=frame.get("token"))
        return [*out, Keep(self._sync), Tell(SyncDone())]

    def _sent(self, frame: dict[str, Any], now: float) -> list[Effect]:
        peer, id_, seq = frame["peer"], frame["id"], frame["seq"]
        message = self._outbox.settle(peer, id_, now)
        out = self._conversations.sent(peer, seq, now)
        if message is not None:
            sent = Sent(seq=seq, ts=frame["ts"], id=id_, peer=peer)
            out += [Keep(OutboxRemoved(id=id_, to=peer)), Settle(sent)]
        return out

    def _answered(self, frame: dict[str, Any], now: float) -> list[Effect]:
        ref = frame.get("ref", "")
        if not self._requests.drop(ref):
            return []  # the second answer to a request that was made twice
        if ref not in self._hole_refs:
            return [Answer(ref, frame)]
        del self._hole_refs[ref]
        return self._conversations.fill(frame, self._outbox, now)

    def _failed(self, frame: dict[str, Any], now: float) -> list[Effect]:
        ref, retry_ms = frame.get("ref") or "", frame.get("retry_after_ms")
        again_at = None if retry_ms is None else now + retry_ms / 1000
        if ref == WATCH:
            self._watch.postpone(again_at)
            return []
        if ref in self._requests:
            return self._request_failed(ref, frame, again_at, now)
        to = self._outbox.owner(ref)
        if to is None:
            return []  # an acknowledgement's: it is only ever raised again, never corrected
        if again_at is not None:
            self._outbox.postpone(to, ref, again_at)
            return []
        self._outbox.settle(to, ref, now)
        return [Keep(OutboxRemoved(id=ref, to=to)), Reject(ref, to, frame["code"], frame.get("message", ""))]

    def _request_failed(self, ref: str, frame: dict[str, Any], again_at: float | None, now: float) -> list[Effect]:
        if again_at is not None:
            self._requests.postpone(ref, again_at)
            return []
        self._requests.drop(ref)
        if ref in self._hole_refs:
            self._conversations.look_again(self._hole_refs.pop(ref), now)
            return []
        return [] if ref == AUTH else [Reject(ref, None, frame["code"], frame.get("message", ""))]

    def _lost(self, reason: str, final: str | None, now: float) -> list[Effect]:
        self._conversations.disconnect()
        self._outbox.close()
        self._requests.close()
        self._watch.close()
        for ref in (AUTH, *self._hole_refs):
            self._requests.drop(ref)
        self._hole_refs.clear()
        if final is not None:
            return [End(final)]
        retry_in_s = max(0.0, (self._link.due or now) - now)
        return [Tell(Disconnected(reason, retry_in_s))]

    def _pump(self, now: float) -> list[Effect]:
        """Write everything that is due, acknowledgements first: they free the server's memory."""
        out = self._conversations.acknowledge(now)
        out += [Write(frame) for frame in self._outbox.pump(now)]
        for frame in self._conversations.holes(now):
            self._hole_count += 1
            ref = f"hole-{self._hole_count}"
            self._hole_refs[ref] = frame["peer"]
            self._requests.ask(ref, frame)
        return out + [Write(frame) for frame in (*self._requests.pump(now), *self._watch.pump(now))]
