"""Owns what a batch is: entries of the streams and their events, in the order in which they must take effect. Pure."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from chatcore.delivery import Refused
from chatcore.errors import Code, CodecError
from chatcore.ids import ConversationId, conversation_id, partition_of
from chatcore.stream import Event, SendEvent, decode_entry

from delivery_worker.inbox import StreamEntry


class Item(NamedTuple):
    """One event of a batch."""

    partition: int
    entry: bytes
    conversation: ConversationId
    event: Event


class Packed(NamedTuple):
    """An entry's way so far, for latencies only."""

    partition: int
    gateway: str
    accepted_ms: int
    """By the gateway's clock."""
    written_ms: int
    """By Redis's clock."""
    events: int
    sends: int


class DeadLetter(NamedTuple):
    """What was given up on, with its reason."""

    partition: int
    entry: bytes
    reason: str
    data: bytes


class Batch:
    """The entries that are handled and settled together."""

    def __init__(self, entries: list[StreamEntry], partitions: int) -> None:
        self.entries = entries
        self.items: list[Item] = []
        self.refused: list[Refused] = []
        self.dead: list[DeadLetter] = []
        self.packed: list[Packed] = []
        for entry in entries:
            self._take(entry, partitions)

    @property
    def partitions(self) -> list[int]:
        """The partitions of the entries, ascending: in this order their rows are locked (R1c)."""
        return sorted({entry.partition for entry in self.entries})

    def _take(self, entry: StreamEntry, partitions: int) -> None:
        try:
            decoded = decode_entry(entry.data)
        except CodecError as error:
            self.dead.append(DeadLetter(entry.partition, entry.id, str(error), entry.data))
            return
        sends = 0
        for event in decoded.events:
            sends += type(event) is SendEvent
            conversation = conversation_id(event.origin.user, event.peer)
            if partition_of(conversation, partitions) == entry.partition:
                self.items.append(Item(entry.partition, entry.id, conversation, event))
            else:
                self.refused.append(_refused(event))
        written_ms = entry.written_ms
        self.packed.append(
            Packed(entry.partition, decoded.gateway, decoded.accepted_ms, written_ms, len(decoded.events), sends)
        )


def _refused(event: Event) -> Refused:
    """R1e: its gateway believes in another number of partitions. It learns the right one, and the client repeats."""
    client_id = event.client_id if isinstance(event, SendEvent) else None
    return Refused(event.origin, Code.UNAVAILABLE, event.peer, client_id, event.ref)


def take(pending: deque[StreamEntry], *, most_entries: int, most_bytes: int) -> list[StreamEntry]:
    """Take the entries of the next batch off the front of `pending`: at least one."""
    taken: list[StreamEntry] = []
    size = 0
    while pending and len(taken) < most_entries:
        size += len(pending[0].data)
        if taken and size > most_bytes:
            break
        taken.append(pending.popleft())
    return taken


def without(entries: Iterable[StreamEntry], partitions: frozenset[int]) -> list[StreamEntry]:
    """Leave out the entries of some partitions, keeping the order."""
    return [entry for entry in entries if entry.partition not in partitions]
