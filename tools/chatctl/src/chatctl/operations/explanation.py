"""Owns what is told of one message, from what was found of it. Pure.

What nothing tells is named, and never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from chatcore.ids import ConversationId
from chatcore.trace import PROCESS_GW, SEND_IN

from chatctl.failure import Failure
from chatctl.operations.people import KnownDevice
from chatctl.operations.spans import LoggedSpan, Names, Step, ack_steps, message_steps, of_message, spans_of
from chatctl.operations.waiting import GivenUp, InStream

Known = Sequence[tuple[str, KnownDevice]]
"""Users, each with a device."""
NOT_FOLLOWED: Final = (
    "no span tells when it was accepted, handled, committed and published: the message was not followed"
    " (CHAT_TRACE_ENDPOINT=log, CHAT_TRACE_RATIO), or the lines are not among the logs that were read"
)
NO_SOCKET: Final = "no span tells that it was written to a recipient's socket: it may have come by a sync"
NO_ACK: Final = "no span tells when a device acknowledged it"


@dataclass(frozen=True, slots=True)
class Holder:
    """A device of either user, and what it said that it holds."""

    user: str
    device: str
    cursor: int
    owed: bool
    """The server owes it this message: at its next sync, or on its way."""
    connected_to: str | None
    """The gateway; None: not connected."""
    connection: int | None
    last_seen_ms: int | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A user's watermarks in the conversation."""

    user: str
    delivered: int
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of a message."""

    users: tuple[str, str]
    conversation: str
    """In hexadecimal, as in logs and spans."""
    partition: int
    owner: str | None
    """Of the partition, now; with `epoch`."""
    epoch: int
    last: int
    """Of the conversation."""
    seq: int | None
    """None: it is not committed."""
    client_id: str
    sender: str
    device: str
    committed_ms: int | None
    """By MySQL's clock."""
    body_bytes: int | None
    state: str
    """`created`, `sent`, `delivered`, `read`, or what keeps it from being any: `in the stream`, `given up`."""
    marks: list[Mark]
    devices: list[Holder]
    steps: list[Step]
    """What happened, in the order of the clocks of those who saw it."""
    not_recorded: list[str]


class Row(NamedTuple):
    """A message as MySQL has it, without its body."""

    seq: int
    sender: str
    device: str
    client_id: str
    ts: int
    body_bytes: int


class Tables(NamedTuple):
    """One look at MySQL."""

    members: dict[str, Any]
    messages: list[Row]
    cursors: dict[tuple[str, str], int]
    owner: str | None
    epoch: int


class Place(NamedTuple):
    """What was asked for, and where it must be."""

    users: tuple[str, str]
    conversation: ConversationId
    partition: int
    seq: int | None
    """What was asked for, if it looks like a number."""
    client_id: str
    """The same, taken for an id."""


class Found(NamedTuple):
    """Where in Redis it is: normally nowhere."""

    streamed: list[InStream]
    dead: list[GivenUp]


def choose(rows: Sequence[Row], place: Place) -> Row | None:
    """A number wins over an id that looks like one, and the first user's message over one of the peer's."""
    of_id = {row.sender: row for row in rows if row.client_id == place.client_id}
    by_seq = next((row for row in rows if row.seq == place.seq), None)
    return by_seq or of_id.get(place.users[0]) or of_id.get(place.users[1])


def missing(place: Place, tables: Tables) -> Failure:
    """Say what there is not: the conversation, or the message."""
    one, other = place.users
    if not tables.members:
        return Failure(
            f"{one} and {other} have no conversation, and nothing of theirs with the id {place.client_id} waits",
            advice="ids are compared byte for byte: look at both users with `chatctl who`",
        )
    last = _last(tables)
    return Failure(
        f"no such message between {one} and {other}: {place.client_id} is neither a number up to {last}, their last,"
        " nor the id of a message that is stored, waits in the stream or was given up",
        advice="its client never sent it, or was told an error: ask the client's log for the answer to its id",
    )


def told(
    place: Place,
    tables: Tables,
    row: Row | None,
    known: Known,
    found: Found,
    lines: Sequence[str],
) -> Explanation:
    """Tell it all. `lines` are the services' logs."""
    seq = row.seq if row else None
    names = _names(known)
    traces = [one.trace for one in found.streamed if one.trace]
    spans = spans_of(lines, place.conversation.hex(), traces)
    mine = of_message(spans, seq, traces)
    steps = [*_stored(row), *_waits(found), *message_steps(mine, names)]
    acks = ack_steps(spans, seq, names) if seq is not None else []
    sender, device, client_id = _author(row, found)
    return Explanation(
        users=place.users,
        conversation=place.conversation.hex(),
        partition=place.partition,
        owner=tables.owner,
        epoch=tables.epoch,
        last=_last(tables),
        seq=seq,
        client_id=client_id,
        sender=sender,
        device=device,
        committed_ms=row.ts if row else None,
        body_bytes=row.body_bytes if row else None,
        state=_state(row, tables, found),
        marks=[Mark(user, *tables.members[user][2:4]) for user in place.users if user in tables.members],
        devices=_holders(known, tables, seq),
        steps=sorted([*steps, *acks], key=lambda step: step.at_ms),
        not_recorded=_gaps(mine, acks, seq),
    )


def _author(row: Row | None, found: Found) -> tuple[str, str, str]:
    if row is not None:
        return row.sender, row.device, row.client_id
    if found.streamed:
        one = found.streamed[0]
        return one.user, one.device, one.client_id
    letter = found.dead[0].letter
    return letter.user or "", "", letter.client_id or ""


def _state(row: Row | None, tables: Tables, found: Found) -> str:
    """Read the state off the watermarks, as the protocol defines it."""
    if row is None:
        return "in the stream" if found.streamed else "given up"
    marks = {user: (delivered, read) for user, _, delivered, read in tables.members.values()}
    peer = next((marks[user] for user in marks if user != row.sender), (0, 0))
    if peer[1] >= row.seq:
        return "read"
    if peer[0] >= row.seq:
        return "delivered"
    return "sent" if marks.get(row.sender, (0, 0))[0] >= row.seq else "created"


def _stored(row: Row | None) -> list[Step]:
    if row is None:
        return []
    return [
        Step(row.ts, "numbered", "MySQL", f"{row.seq}, from {row.sender}'s {row.device}: the row's own time", "mysql")
    ]


def _waits(found: Found) -> list[Step]:
    steps = []
    for one in found.streamed:
        detail = f"connection {one.connection} ({one.user}'s {one.device}): still in {one.stream}, entry {one.entry}"
        steps.append(Step(one.accepted_ms, "accepted", one.gateway, detail, "redis"))
    for letter in found.dead:
        detail = f"dead letter {letter.letter.id}: {letter.letter.reason}"
        steps.append(Step(letter.at_ms, "given up", f"partition {letter.letter.partition}", detail, "redis"))
    return steps


def _names(known: Known) -> Names:
    return {
        (one.gateway, one.connection): f"{user}'s {one.device}"
        for user, one in known
        if one.gateway is not None and one.connection is not None
    }


def _holders(known: Known, tables: Tables, seq: int | None) -> list[Holder]:
    holders = []
    for user, one in known:
        cursor = tables.cursors.get((user, one.device), 0)
        owed = seq is not None and cursor < seq and not one.revoked
        holders.append(
            Holder(user, one.device, cursor, owed, one.gateway, one.connection, one.last_seen_ms, one.revoked)
        )
    return sorted(holders, key=lambda holder: (holder.user, holder.device))


def _gaps(mine: Sequence[LoggedSpan], acks: Sequence[Step], seq: int | None) -> list[str]:
    gaps = []
    if not any(span.name == SEND_IN for span in mine):
        gaps.append(NOT_FOLLOWED)
    elif seq is not None and not any(
        span.name == PROCESS_GW and span.attributes.get("chat.frame") == "message" for span in mine
    ):
        gaps.append(NO_SOCKET)
    if seq is not None and not acks:
        gaps.append(NO_ACK)
    return gaps


def _last(tables: Tables) -> int:
    return max((int(row[1]) for row in tables.members.values()), default=0)
