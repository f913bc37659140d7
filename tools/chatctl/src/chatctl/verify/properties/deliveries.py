"""Owns the properties of the two ways by which a message finds a device: pushes, and the sync of whoever appears (R4).

Other properties ask whether everybody has everything in the end; the next message of a conversation, or the next sync,
heals much before. These ask of each way whether it did its own part. Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from chatctl.verify import history as h
from chatctl.verify.case import FOR_EVER, RECOVERY_S, Case, Link
from chatctl.verify.history import Fault, Pair, pair_of
from chatctl.verify.properties.liveness import CONVERGE_S
from chatctl.verify.properties.violation import Found, Violation

LOSES_NO_PUSH: Final = frozenset(
    {
        "cut_clients",
        "partition_gateway_clients",
        "mysql_kill_connections",
        "mysql_lock_wait",
        "mysql_read_only",
        "partition_worker_mysql",
    }
)
"""Kinds of faults that end connections or delay commits, and touch nothing between a commit and an open connection."""


@dataclass(slots=True)
class _Shelf:
    """What a device holds of a conversation without a gap."""

    upto: int = 0
    ahead: set[int] = field(default_factory=set)

    def put(self, seq: int) -> None:
        self.ahead.add(seq)
        self._close_up()

    def begin(self, cursor: int) -> None:
        self.upto = max(self.upto, cursor)
        self._close_up()

    def _close_up(self) -> None:
        while self.upto + 1 in self.ahead:
            self.upto += 1


Mark = tuple[int, int]
"""Delivered, and read."""
_Marks = dict[str, dict[str, Mark]]


def _raise(marks: dict[str, Mark], peer: str, delivered: int, read: int) -> None:
    before = marks.get(peer, (0, 0))
    marks[peer] = (max(before[0], delivered), max(before[1], read))


@dataclass(slots=True)
class _Course:
    """A run, followed from one observation to the next."""

    last: dict[Pair, int] = field(default_factory=lambda: defaultdict(int))
    """The highest number of each conversation that anybody was told."""
    shelves: dict[tuple[str, str], dict[str, _Shelf]] = field(default_factory=dict)
    knocked: dict[tuple[str, str], dict[Pair, int]] = field(default_factory=dict)
    """`last`, when a device last began a handshake."""
    owed: dict[int, dict[Pair, int]] = field(default_factory=dict)
    """`last`, when the handshake of a connection began whose first sync has not come."""
    marks: _Marks = field(default_factory=lambda: defaultdict(dict))
    """Of each user's peers, the highest marks that any device of the user was told."""
    known: dict[tuple[str, str], dict[str, Mark]] = field(default_factory=lambda: defaultdict(dict))
    """Of a device's peers, the highest marks that it was told itself."""
    marks_knocked: dict[tuple[str, str], dict[str, Mark]] = field(default_factory=dict)
    marks_owed: dict[int, dict[str, Mark]] = field(default_factory=dict)
    """As `knocked` and `owed`."""

    def shelf(self, item: h.Sent | h.Seen | h.Synced) -> _Shelf:
        return self.shelves.setdefault((item.user, item.device), {}).setdefault(item.peer, _Shelf())

    def follow(self, item: h.Observation) -> None:
        if isinstance(item, h.Sent | h.Seen):
            self.shelf(item).put(item.seq)
            pair = pair_of(item.user, item.peer)
            self.last[pair] = max(self.last[pair], item.seq)
        elif isinstance(item, h.Synced):
            self.shelf(item).begin(item.cursor)
        elif isinstance(item, h.Connecting):
            mine = {pair: seq for pair, seq in self.last.items() if item.user in pair}
            self.knocked[item.user, item.device] = mine
            self.marks_knocked[item.user, item.device] = dict(self.marks[item.user])
        elif isinstance(item, h.Claimed) and item.user == item.other:
            # What a device says of its own user may be its own word, on the way to the server still.
            _raise(self.marks[item.user], item.of, item.delivered, item.read)
            _raise(self.known[item.user, item.device], item.of, item.delivered, item.read)
        elif isinstance(item, h.Welcomed) and (item.user, item.device) in self.knocked:
            self.owed[item.link] = self.knocked[item.user, item.device]
            self.marks_owed[item.link] = self.marks_knocked[item.user, item.device]


def a_sync_brings_everything(case: Case) -> Found:
    """When the first sync of a connection is done, its device has all that anybody knew when it began to connect."""
    course = _Course()
    for item in case.history.observations:
        course.follow(item)
        if isinstance(item, h.SyncDone) and item.link in course.owed:
            shelves = course.shelves.get((item.user, item.device), {})
            for pair, seq in course.owed.pop(item.link).items():
                peer = pair[1] if item.user == pair[0] else pair[0]
                upto = shelves[peer].upto if peer in shelves else 0
                if upto < seq:
                    what = f"{item.user}/{item.device} was synced up to {upto} of {pair}; {seq} was known before"
                    yield Violation(what, (item,))


def a_sync_brings_every_mark(case: Case) -> Found:
    """When the first sync of a connection is done, its device knows all peers' marks that its user had been told."""
    course = _Course()
    for item in case.history.observations:
        course.follow(item)
        if isinstance(item, h.SyncDone) and item.link in course.marks_owed:
            known = course.known[item.user, item.device]
            for peer, mark in course.marks_owed.pop(item.link).items():
                told = known.get(peer, (0, 0))
                if told[0] < mark[0] or told[1] < mark[1]:
                    what = f"{item.user}/{item.device} was synced and knows {told} of {peer}; {mark} was known before"
                    yield Violation(what, (item,))


def a_push_need_not_be_asked_for(case: Case) -> Found:
    """What a device had to ask for came by itself as well, unless something happened that may lose a push."""
    stalled = {item.link for item in case.of(h.Stalling)}
    begins = _begins(case)
    for number, seen in _seen_by_link(case).items():
        link = case.links.get(number)
        if link is None or number in stalled:
            continue
        for asked in _only_asked_for(seen):
            if asked.seq > begins.get((link.user, link.device, asked.peer), 0) and _was_owed(case, link, asked):
                what = f"{asked.seq} of {pair_of(link.user, asked.peer)} was never pushed to {link.user}/{link.device}"
                yield Violation(what, (asked,))


def _seen_by_link(case: Case) -> Mapping[int, list[h.Seen]]:
    grouped: dict[int, list[h.Seen]] = defaultdict(list)
    for item in case.of(h.Seen):
        grouped[item.link].append(item)
    return grouped


def _begins(case: Case) -> Mapping[tuple[str, str, str], int]:
    """Up to where the server ever said that it owes a device nothing."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for item in case.of(h.Synced):
        place = (item.user, item.device, item.peer)
        found[place] = max(found[place], item.cursor)
    return found


def _only_asked_for(seen: list[h.Seen]) -> Iterator[h.Seen]:
    """Give the peer's messages that came over a connection in answer to requests alone, each as it came first."""
    by_itself = {(item.peer, item.seq) for item in seen if item.how != "history"}
    told: set[tuple[str, int]] = set()
    for item in seen:
        place = (item.peer, item.seq)
        if item.sender == item.peer and place not in by_itself and place not in told:
            told.add(place)
            yield item


def _was_owed(case: Case, link: Link, asked: h.Seen) -> bool:
    """Tell whether the push had the time to come, and nothing happened that may have lost it."""
    held_s = case.held_s.get((link.user, link.device, asked.peer, asked.seq), FOR_EVER)
    known_s = case.known_s.get((pair_of(link.user, asked.peer), asked.seq), FOR_EVER)
    due_s = max(known_s, link.up_s) + CONVERGE_S
    if held_s < asked.at_s or min(link.down_s, case.end_s) < due_s:
        return False
    return not any(
        not _loses_no_push(fault) and begun_s < due_s and link.up_s < ended_s + RECOVERY_S
        for begun_s, ended_s, fault in case.disturbances
    )


def _loses_no_push(fault: Fault) -> bool:
    return fault.kind in LOSES_NO_PUSH or (fault.kind == "slow_line" and fault.target.endswith(":mysql"))
