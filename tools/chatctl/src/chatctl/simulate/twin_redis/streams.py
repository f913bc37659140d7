"""Owns what a stream is: entries, consumer groups and what they have pending. No I/O."""

from dataclasses import dataclass, field

from redis.exceptions import ResponseError

Id = tuple[int, int]
Fields = list[bytes]
FIRST: Id = (0, 0)
LAST: Id = (2**63, 0)


def read_id(raw: bytes, default_seq: int = 0) -> Id:
    """Read an entry's id. Raises `ResponseError`."""
    ms, _, seq = raw.partition(b"-")
    try:
        return int(ms), int(seq) if seq else default_seq
    except ValueError:
        raise ResponseError("ERR Invalid stream ID specified as stream command argument") from None


def write_id(entry: Id) -> bytes:
    """Write an entry's id."""
    return b"%d-%d" % entry


@dataclass(slots=True)
class Pending:
    """An entry that a consumer has read and not acknowledged."""

    consumer: bytes
    delivered_ms: int
    times: int = 1


@dataclass(slots=True)
class Group:
    """A consumer group."""

    last: Id
    pending: dict[Id, Pending] = field(default_factory=dict)
    consumers: dict[bytes, int] = field(default_factory=dict)
    """When each was seen last, in ms."""


@dataclass(slots=True)
class Stream:
    """Entries in the order of their ids, and the groups that read them."""

    entries: dict[Id, Fields] = field(default_factory=dict)
    last: Id = FIRST
    groups: dict[bytes, Group] = field(default_factory=dict)

    def add(self, fields: Fields, now_ms: int) -> Id:
        """Append an entry under the next id."""
        self.last = (now_ms, 0) if now_ms > self.last[0] else (self.last[0], self.last[1] + 1)
        self.entries[self.last] = fields
        return self.last

    def trim(self, most: int) -> None:
        """Drop the oldest entries. The groups' pending lists stay as they are."""
        for entry in list(self.entries)[: max(0, len(self.entries) - most)]:
            del self.entries[entry]

    def above(self, after: Id, count: int) -> list[Id]:
        """Give the ids of the next entries."""
        if after >= self.last:
            return []
        return [entry for entry in self.entries if entry > after][:count]

    def read_new(self, group: Group, consumer: bytes, count: int, now_ms: int) -> list[tuple[Id, Fields]]:
        """Hand out what is new to a group; it is pending from now on."""
        found = self.above(group.last, count)
        for entry in found:
            group.pending[entry] = Pending(consumer, now_ms)
        if found:
            group.last = found[-1]
        return [(entry, self.entries[entry]) for entry in found]

    def read_pending(self, group: Group, consumer: bytes, after: Id, count: int) -> list[tuple[Id, Fields | None]]:
        """Give again what a consumer has pending; an entry that was deleted has no fields."""
        mine = sorted(e for e, p in group.pending.items() if p.consumer == consumer and e > after)
        return [(entry, self.entries.get(entry)) for entry in mine[:count]]

    def claim(
        self, group: Group, consumer: bytes, start: Id, *, idle_ms: int, count: int, now_ms: int, count_up: bool
    ) -> tuple[list[Id], list[Id]]:
        """Make over what was pending elsewhere for long; gives also what is pending and deleted, which goes."""
        claimed: list[Id] = []
        deleted: list[Id] = []
        for entry in sorted(e for e in group.pending if e >= start):
            pending = group.pending[entry]
            if len(claimed) >= count or now_ms - pending.delivered_ms < idle_ms:
                continue
            if entry not in self.entries:
                deleted.append(entry)
                del group.pending[entry]
                continue
            group.pending[entry] = Pending(consumer, now_ms, pending.times + count_up)
            claimed.append(entry)
        return claimed, deleted
