"""Owns what arrived since the pipeline before: gathered, coalesced, bounded, and packed into entries. Pure (R9, R5)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from chatcore.ids import conversation_id, partition_of
from chatcore.stream import MAX_ENTRY_BYTES, Connected, Disconnected, PresenceEvent, Request

MAX_SENDS: Final = 20_000
"""Sends that wait for the pipeline before; past it they get `overloaded`."""
MAX_SEND_BYTES: Final = 64 * 1024 * 1024
"""Their bytes; the same."""
MAX_ACKS: Final = 200_000
"""Acknowledgements, one per user, device, peer and `ref`, that wait for Redis, each with at most one below it; past it
the oldest goes: its client repeats it after its next sync (PROTOCOL section 6)."""
MAX_SOFT: Final = 20_000
"""Presence events, or requests, that wait; past it the newest is refused: its client is told, or it comes again by
itself (beats, announcements, syncs). A typing frame has no answer (PROTOCOL section 4) and is old within seconds: it is
dropped, and counted. Who came and who went is always taken: once for each connection."""
ACK_BYTES: Final = 300
"""Of an acknowledgement in an entry, at most: two ids of users, one of a device, two numbers."""
SEND: Final = 0
"""The first field of a send's item (`chatcore.stream.send_item`)."""

AckKey = tuple[str, str, str, str | None]
"""User, device, peer, and the `ref` under which its client wants an error: one with a `ref` is answered for itself."""
Entry = tuple[int, list[Any]]
"""A partition and its items, in order."""


@dataclass(slots=True)
class Turn:
    """What arrived in one turn."""

    sends: dict[int, list[tuple[int, Any]]] = field(default_factory=dict)
    """By partition: size in bytes and item, in the order of arrival (G4)."""
    acks: dict[AckKey, Any] = field(default_factory=dict)
    below: dict[AckKey, Any] = field(default_factory=dict)
    """The highest below each of those, if there was another."""
    requests: list[Request] = field(default_factory=list)
    events: list[PresenceEvent] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0

    def send(self, partition: int, item: Any, size_bytes: int) -> bool:
        """Take a send; False when too many wait."""
        if self.count >= MAX_SENDS or self.size_bytes + size_bytes > MAX_SEND_BYTES:
            return False
        self.sends.setdefault(partition, []).append((size_bytes, item))
        self.count += 1
        self.size_bytes += size_bytes
        return True

    def ack(self, item: Any, *, late: bool = False) -> bool:
        """Keep the highest of a user's device and peer under a `ref`; False when an older one of another had to go.

        The one below it is kept as well: a worker refuses what is beyond the last number, and that must not take what
        is true with it. Who claims more than one number beyond at once repeats the rest after the next sync.
        `late`: it comes back from a pipeline that failed, and what is here already is newer and names who is answered.
        """
        key, acks = (item[2], item[3], item[4], item[7]), self.acks
        old = acks.get(key)
        if old is not None:
            acks[key] = _joined(old if late else item, old, item)
            if old[5] != item[5]:
                lower = min(old, item, key=_delivered)
                self.below[key] = _joined(lower, lower, self.below.get(key, lower))
            return True
        dropping = len(acks) >= MAX_ACKS
        if dropping:
            oldest = next(iter(acks))
            del acks[oldest]
            self.below.pop(oldest, None)
        acks[key] = item
        return not dropping

    def acknowledgements(self) -> list[Any]:
        """Give the items of all acknowledgements, lower ones first."""
        return [*self.below.values(), *self.acks.values()]

    def request(self, request: Request) -> bool:
        """Take a request to a worker; False when too many wait."""
        if len(self.requests) >= MAX_SOFT:
            return False
        self.requests.append(request)
        return True

    def tell(self, event: PresenceEvent) -> bool:
        """Take an event for presence; False when too many wait."""
        if len(self.events) >= MAX_SOFT and not isinstance(event, Connected | Disconnected):
            return False
        self.events.append(event)
        return True

    def refused(self) -> Iterable[Any]:
        """Give the items of all sends."""
        return [item for sized in self.sends.values() for _, item in sized]

    def entries(self, partitions: int, overfull: frozenset[int]) -> tuple[list[Entry], list[Any]]:
        """Pack sends, then acknowledgements, into entries; gives also the acknowledgements that have to wait."""
        packed = {partition: list(sized) for partition, sized in self.sends.items()} if self.acks else self.sends
        held = []
        for item in self.acknowledgements():
            partition = place(item[2], item[4], partitions)
            if partition in overfull:
                held.append(item)
            else:
                packed.setdefault(partition, []).append((ACK_BYTES, item))
        return [entry for partition, sized in packed.items() for entry in _split(partition, sized)], held


def _joined(newest: Any, one: Any, other: Any) -> Any:
    """Join two acknowledgements; the newest names who is answered."""
    return (*newest[:5], max(one[5], other[5]), max(one[6], other[6]), *newest[7:])


def _delivered(item: Any) -> int:
    number: int = item[5]
    return number


@lru_cache(maxsize=100_000)
def place(user: str, peer: str, partitions: int) -> int:
    """Give the partition of two users' conversation."""
    return partition_of(conversation_id(user, peer), partitions)


def _split(partition: int, sized: list[tuple[int, Any]]) -> Iterable[Entry]:
    items: list[Any] = []
    room = MAX_ENTRY_BYTES
    for size_bytes, item in sized:
        if items and size_bytes > room:
            yield partition, items
            items, room = [], MAX_ENTRY_BYTES
        items.append(item)
        room -= size_bytes
    yield partition, items
