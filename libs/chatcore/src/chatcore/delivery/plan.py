"""Owns what a batch of events does to conversations: `(events, states, now) -> plan`, without I/O (R10).

The plan is the rows to commit, the frames to publish after the commit, the answers, and the states to remember once
the COMMIT was answered. Nothing else decides about numbers, watermarks and refusals. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from chatcore.delivery.state import (
    HIGH,
    KNOWN_AUTHORS,
    KNOWN_CURSORS,
    KNOWN_IDS,
    LOW,
    Conversation,
    Known,
    digest_of,
)
from chatcore.errors import Code
from chatcore.ids import ClientId, ConversationId, DeviceId, Seq, UserId
from chatcore.stream import AckEvent, Event, Origin, SendEvent

K = TypeVar("K")
V = TypeVar("V")


class MessageRow(NamedTuple):
    """A message to insert, once and for all."""

    conversation: ConversationId
    seq: Seq
    sender: UserId
    device: DeviceId
    client_id: ClientId
    ts: int
    body: str


class MemberRow(NamedTuple):
    """One user's row of a changed conversation; both users' are written, and both are stamped with `now` (R4c)."""

    user: UserId
    conversation: ConversationId
    peer: UserId
    last: Seq
    last_ts: int
    delivered: Seq
    read: Seq
    peer_delivered: Seq
    peer_read: Seq


class CursorRow(NamedTuple):
    """What a device says that it holds."""

    user: UserId
    device: DeviceId
    conversation: ConversationId
    seq: Seq


class Sent(NamedTuple):
    """The answer to a send that is committed."""

    origin: Origin
    client_id: ClientId
    peer: UserId
    seq: Seq
    ts: int
    ref: str | None


class Refused(NamedTuple):
    """The answer to an event that changed nothing. `client_id` is that of a send, None for an acknowledgement."""

    origin: Origin
    code: Code
    peer: UserId
    client_id: ClientId | None
    ref: str | None


class Message(NamedTuple):
    """A message for every device of both users but the one that sent it."""

    row: MessageRow
    peer: UserId


class Receipt(NamedTuple):
    """A watermark of `user` rose."""

    user: UserId
    peer: UserId
    delivered: Seq
    read: Seq
    to_peer: bool
    """The rise covers a message of the peer's."""
    to_self: bool
    """The read mark rose: the user's own other devices want to know."""
    device: DeviceId | None
    """The one device that said so; None when several did, or nobody knows which."""


Answer = Sent | Refused


@dataclass(slots=True)
class Plan:
    """What a batch does. Its lists are in the order in which they take effect."""

    messages: list[MessageRow] = field(default_factory=list)
    members: list[MemberRow] = field(default_factory=list)
    cursors: list[CursorRow] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    pushes: list[Message | Receipt] = field(default_factory=list)
    states: dict[ConversationId, Conversation] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.messages or self.members or self.cursors)


def plan(
    events: Iterable[tuple[ConversationId, Event]],
    states: Mapping[ConversationId, Conversation],
    now: int,
) -> Plan:
    """Decide what `events`, in their order, do to `states`, at `now` (ms of MySQL's clock, read after the fence).

    `states` holds every conversation of the events, and is left as it is. Each event is one of its conversation's
    two users' (its caller checked that the id is theirs).
    """
    result = Plan()
    drafts: dict[ConversationId, _Draft] = {}
    for conversation, event in events:
        draft = drafts.get(conversation)
        if draft is None:
            draft = drafts[conversation] = _Draft(conversation, states[conversation])
        if isinstance(event, SendEvent):
            _send(result, draft, event, now)
        else:
            _ack(result, draft, event)
    for draft in drafts.values():
        draft.finish(result)
    return result


class _Draft:
    """A conversation while a batch is planned."""

    __slots__ = ("ackers", "authors", "base", "cursors", "delivered", "id", "known", "last", "last_ts", "read", "told")

    def __init__(self, conversation: ConversationId, base: Conversation) -> None:
        self.id = conversation
        self.base = base
        self.last, self.last_ts = base.last, base.last_ts
        self.delivered, self.read = list(base.delivered), list(base.read)
        self.known: dict[tuple[int, str], Known] = {}
        self.cursors: dict[tuple[int, str], int] = {}
        self.authors = bytearray()
        self.ackers: tuple[set[DeviceId], set[DeviceId]] = (set(), set())
        self.told = list(base.told)

    def finish(self, result: Plan) -> None:
        """Put the rows, the receipts and the new state into the plan."""
        base = self.base
        moved = self.delivered != list(base.delivered) or self.read != list(base.read)
        for (side, device), seq in self.cursors.items():
            result.cursors.append(CursorRow(base.users[side], DeviceId(device), self.id, Seq(seq)))
        state = self._state()
        if moved or self.authors:
            result.members += (_member(state, self.id, LOW), _member(state, self.id, HIGH))
        if self.ackers[LOW]:
            self._receipt(result, state, LOW)
        if self.ackers[HIGH]:
            self._receipt(result, state, HIGH)
        result.states[self.id] = state

    def _state(self) -> Conversation:
        base = self.base
        authors, floor = base.authors + self.authors, base.floor
        if len(authors) > 2 * KNOWN_AUTHORS:
            floor = Seq(self.last - KNOWN_AUTHORS)
            authors = authors[-KNOWN_AUTHORS:]
        return Conversation(
            users=base.users,
            last=self.last,
            last_ts=self.last_ts,
            delivered=(self.delivered[LOW], self.delivered[HIGH]),
            read=(self.read[LOW], self.read[HIGH]),
            told=(self.told[LOW], self.told[HIGH]),
            known=_newest(base.known, self.known, KNOWN_IDS),
            cursors=_newest(base.cursors, self.cursors, KNOWN_CURSORS),
            floor=floor,
            authors=authors,
        )

    def _receipt(self, result: Plan, state: Conversation, side: int) -> None:
        base, other, devices = self.base, 1 - side, self.ackers[side]
        unsure = not base.told[side]
        to_self = unsure or state.read[side] > base.read[side]
        # `delivered` and `read` rise apart: each of the two ranges may be what covers a message of the peer's.
        to_peer = (
            unsure
            or self._covers(other, base.delivered[side], state.delivered[side])
            or self._covers(other, base.read[side], state.read[side])
        )
        if to_peer or to_self:
            # A mark that was read from MySQL may be another device's word, and news to the one that acks now.
            device = next(iter(devices)) if len(devices) == 1 and not unsure else None
            marks = state.delivered[side], state.read[side]
            result.pushes.append(Receipt(state.users[side], state.users[other], *marks, to_peer, to_self, device))

    def _covers(self, side: int, above: int, upto: int) -> bool:
        """`Conversation.covers` over the base's messages and those that the batch added."""
        base = self.base
        if upto == above:
            return False
        if base.covers(side, above, min(upto, base.last)):
            return True
        return upto > base.last and side in self.authors[max(0, above - base.last) : upto - base.last]


def _newest(old: Mapping[K, V], new: Mapping[K, V], most: int) -> Mapping[K, V]:
    if not new:
        return old
    joined = {**old, **new}
    return joined if len(joined) <= most else dict(list(joined.items())[-most:])


def _member(state: Conversation, conversation: ConversationId, side: int) -> MemberRow:
    other = 1 - side
    return MemberRow(
        user=state.users[side],
        conversation=conversation,
        peer=state.users[other],
        last=state.last,
        last_ts=state.last_ts,
        delivered=state.delivered[side],
        read=state.read[side],
        peer_delivered=state.delivered[other],
        peer_read=state.read[other],
    )


def _send(result: Plan, draft: _Draft, event: SendEvent, now: int) -> None:
    origin = event.origin
    side = draft.base.side_of(origin.user)
    key = (side, event.client_id)
    known = draft.known.get(key) or draft.base.known.get(key)
    if known is not None:
        _send_again(result, draft, event, known)
        return
    draft.last = Seq(draft.last + 1)
    draft.last_ts = now
    draft.authors.append(side)
    draft.known[key] = Known(draft.last, now, digest_of(event.body), origin.device, replay=False)
    row = MessageRow(draft.id, draft.last, origin.user, origin.device, event.client_id, now, event.body)
    result.messages.append(row)
    result.answers.append(Sent(origin, event.client_id, event.peer, row.seq, now, event.ref))
    result.pushes.append(Message(row, event.peer))


def _send_again(result: Plan, draft: _Draft, event: SendEvent, known: Known) -> None:
    origin = event.origin
    if known.digest != digest_of(event.body):
        result.answers.append(Refused(origin, Code.ID_CONFLICT, event.peer, event.client_id, event.ref))
        return
    result.duplicates += 1
    result.answers.append(Sent(origin, event.client_id, event.peer, known.seq, known.ts, event.ref))
    if known.replay:
        key = (draft.base.side_of(origin.user), event.client_id)
        draft.known[key] = Known(known.seq, known.ts, known.digest, known.device, replay=False)
        row = MessageRow(draft.id, known.seq, origin.user, known.device, event.client_id, known.ts, event.body)
        result.pushes.append(Message(row, event.peer))


def _ack(result: Plan, draft: _Draft, event: AckEvent) -> None:
    origin, _, delivered, read, ref = event
    delivered = max(delivered, read)
    if delivered > draft.last:
        result.answers.append(Refused(origin, Code.ACK_AHEAD, event.peer, None, ref))
        return
    side, device = draft.base.side_of(origin.user), origin.device
    key = (side, device)
    if delivered > max(draft.cursors.get(key, 0), draft.base.cursors.get(key, 0)):
        draft.cursors[key] = delivered
    rises = delivered > draft.delivered[side] or read > draft.read[side]
    # Nobody knows whether marks that were read from MySQL were published: their owner may have died in between (R3).
    repeats = not draft.told[side] and (delivered == draft.delivered[side] or (read and read == draft.read[side]))
    if rises or repeats:
        draft.ackers[side].add(device)
        draft.told[side] = True
        draft.delivered[side] = max(draft.delivered[side], delivered)
        draft.read[side] = max(draft.read[side], read)
