"""Owns the groupings of a run that several properties look at, each made once. It must never judge."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from chatctl.verify import history as h
from chatctl.verify.final_state import Entry, FinalState, Log
from chatctl.verify.history import History, Key, Observation, Pair, pair_of

Kind = TypeVar("Kind", bound=Observation)

RECOVERY_S: Final = 20.0
"""Seconds after a fault's end in which the system may still heal: G8's 15, and the second look of R4a."""
LAG_S: Final = 0.25
"""Seconds by which the tool must be late itself before what it saw in that moment says nothing about seconds."""
FOR_EVER: Final = float("inf")


@dataclass(slots=True)
class Link:
    """One connection, as its client knows it."""

    user: str
    device: str
    number: int
    gateway: str
    up_s: float
    ttl_s: float
    down_s: float = FOR_EVER
    code: int = 0
    ours: bool = False
    syncs_s: list[float] = field(default_factory=list)


def other_of(pair: Pair, user: str) -> str:
    """Return the other user of a conversation."""
    return pair[1] if user == pair[0] else pair[0]


def key_of(seen: h.Seen) -> Key:
    """Name the message that was seen: its sender, the other of the two, and its id."""
    return (seen.sender, seen.user if seen.sender == seen.peer else seen.peer, seen.id)


class Case:
    """A run to be judged."""

    def __init__(self, history: History, final: FinalState) -> None:
        self.history = history
        self.final = final

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the observations of one kind, in order."""
        return self._by_kind.get(kind, [])  # type: ignore[return-value] # the dictionary is keyed by the type

    @cached_property
    def _by_kind(self) -> dict[type[Observation], list[Observation]]:
        grouped: dict[type[Observation], list[Observation]] = defaultdict(list)
        for item in self.history.observations:
            grouped[type(item)].append(item)
        return dict(grouped)

    @cached_property
    def sendings(self) -> dict[Key, list[h.Sending]]:
        """The transmissions of each message."""
        grouped: dict[Key, list[h.Sending]] = defaultdict(list)
        for item in self.of(h.Sending):
            grouped[item.user, item.peer, item.id].append(item)
        return dict(grouped)

    @cached_property
    def confirmed(self) -> dict[Key, list[h.Sent]]:
        """Every `sent` that came for each message."""
        grouped: dict[Key, list[h.Sent]] = defaultdict(list)
        for item in self.of(h.Sent):
            grouped[item.user, item.peer, item.id].append(item)
        return dict(grouped)

    @cached_property
    def refused(self) -> dict[Key, list[h.Refusal]]:
        """Every refusal of each message, final or not."""
        grouped: dict[Key, list[h.Refusal]] = defaultdict(list)
        for item in self.of(h.Refusal):
            grouped[item.user, item.peer, item.id].append(item)
        return dict(grouped)

    @property
    def store(self) -> dict[Pair, Log]:
        """The logs as MySQL has them, or else as the server gives them out."""
        return dict(self.final.logs if self.final.rows is None else self.final.rows)

    @cached_property
    def stored(self) -> dict[Key, list[Entry]]:
        """The entries of each message in the store: one, if all is well."""
        grouped: dict[Key, list[Entry]] = defaultdict(list)
        for pair, log in self.store.items():
            for entry in log:
                grouped[entry.sender, other_of(pair, entry.sender), entry.id].append(entry)
        return dict(grouped)

    @cached_property
    def numbered(self) -> dict[tuple[Pair, int], Entry]:
        """The stored entry under each number."""
        return {(pair, entry.seq): entry for pair, log in self.store.items() for entry in log}

    def every_log(self) -> Iterator[tuple[str, Pair, Log]]:
        """Name each log that was read in the end: who gave it out, its conversation, its entries."""
        for name, logs in (("history", self.final.logs), ("the peer's history", self.final.mirrors)):
            yield from ((name, pair, log) for pair, log in logs.items())
        yield from (("MySQL", pair, log) for pair, log in (self.final.rows or {}).items())

    @property
    def told(self) -> Iterator[h.Sent | h.Seen]:
        """Everything that gave a message a number."""
        yield from self.of(h.Sent)
        yield from self.of(h.Seen)

    @cached_property
    def known_s(self) -> dict[tuple[Pair, int], float]:
        """When anybody knew first that a number is taken."""
        first: dict[tuple[Pair, int], float] = {}
        for item in self.told:
            place = (pair_of(item.user, item.peer), item.seq)
            first[place] = min(first.get(place, FOR_EVER), item.at_s)
        return first

    @cached_property
    def held_s(self) -> dict[tuple[str, str, str, int], float]:
        """When a device first had each message: user, device, peer and number to the time."""
        first: dict[tuple[str, str, str, int], float] = {}
        for item in self.history.observations:
            if isinstance(item, h.Sent | h.Seen):
                first.setdefault((item.user, item.device, item.peer, item.seq), item.at_s)
        return first

    @cached_property
    def starts(self) -> dict[tuple[str, str, str], int]:
        """Up to where the server owed a device nothing when it was first told of a conversation."""
        found: dict[tuple[str, str, str], int] = {}
        for item in self.of(h.Synced):
            found.setdefault((item.user, item.device, item.peer), item.cursor)
        for device in self.final.devices:
            found |= {(device.user, device.device, peer): start for peer, start in device.start.items()}
        return found

    @property
    def end_s(self) -> float:
        """When the last thing was seen."""
        return self.history.observations[-1].at_s if self.history.observations else 0.0

    @cached_property
    def links(self) -> dict[int, Link]:
        """Every connection that was welcomed."""
        made: dict[int, Link] = {}
        for item in self.history.observations:
            if isinstance(item, h.Welcomed):
                made[item.link] = Link(item.user, item.device, item.link, item.gateway, item.at_s, item.ttl_s)
            elif isinstance(item, h.Closed) and item.link in made:
                link = made[item.link]
                link.down_s, link.code, link.ours = item.at_s, item.code, item.ours
            elif isinstance(item, h.SyncDone) and item.link in made:
                made[item.link].syncs_s.append(item.at_s)
        return made

    def links_of(self, user: str, device: str | None = None) -> list[Link]:
        """Return a user's connections in the order in which they were welcomed."""
        return [link for link in self._links_by_user.get(user, []) if device is None or link.device == device]

    @cached_property
    def _links_by_user(self) -> dict[str, list[Link]]:
        grouped: dict[str, list[Link]] = defaultdict(list)
        for link in self.links.values():
            grouped[link.user].append(link)
        return dict(grouped)

    @cached_property
    def disturbances(self) -> list[tuple[float, float, h.Fault]]:
        """From when to when each fault lasted."""
        open_: dict[tuple[str, str], h.Fault] = {}
        found: list[tuple[float, float, h.Fault]] = []
        for fault in self.history.faults:
            place = (fault.kind, fault.target)
            if fault.begins:
                open_[place] = fault
            elif place in open_:
                begun = open_.pop(place)
                found.append((begun.at_s, fault.at_s, begun))
        calm_s = self.history.calm_s or FOR_EVER
        found += [(fault.at_s, calm_s, fault) for fault in open_.values()]
        if self.history.faults:  # what was killed last is not up again at once
            last = self.history.faults[-1]
            found.append((last.at_s, max(calm_s, last.at_s), last))
        return found

    def disturbed(self, begin_s: float, end_s: float) -> bool:
        """Tell whether anything was done to the system shortly before or in that time, or the tool was late itself."""
        if any(begun < end_s and begin_s < ended + RECOVERY_S for begun, ended, _ in self.disturbances):
            return True
        return any(begin_s - 1 <= at_s <= end_s + 1 and by_s >= LAG_S for at_s, by_s in self.history.lags)
