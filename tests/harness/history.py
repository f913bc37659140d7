"""Owns what a run of devices leaves behind for judgement: what each said and saw, in one order of time.

Pure records: it must never judge (history_checks does) and never do I/O. All devices of a run live in one event
loop and share one `History`, so its order is the order in which things happened as the clients know it.
"""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sending:
    """A device put a `send` on a connection; recorded before the socket sees it."""

    user: str
    device: str
    connection: int
    peer: str
    id: str
    body: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A device received `sent`."""

    user: str
    device: str
    peer: str
    id: str
    seq: int
    ts: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device received an `error` for a send."""

    user: str
    device: str
    peer: str
    id: str
    code: str
    final: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A device received a message, live, in a sync or in a page of history."""

    user: str
    device: str
    peer: str
    sender: str
    seq: int
    id: str
    ts: int
    body: str


@dataclass(frozen=True, slots=True)
class Acked:
    """A device put an acknowledgement on a connection; recorded before the socket sees it."""

    user: str
    device: str
    peer: str
    seq: int
    read: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A frame told `observer` that `user` has these marks in their conversation with `other`."""

    observer: str
    device: str
    user: str
    other: str
    delivered: int
    read: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A conversation as one sync named it to a device."""

    user: str
    device: str
    peer: str
    last: int
    cursor: int
    read: int
    peer_delivered: int
    peer_read: int


Observation = Sending | Sent | Refusal | Seen | Acked | Claimed | Synced


@dataclass(slots=True)
class History:
    """The observations of a run, in order."""

    observations: list[Observation] = field(default_factory=list)

    def add(self, observation: Observation) -> None:
        """Append one observation; its place is its time."""
        self.observations.append(observation)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as the server's log has it in the end."""

    seq: int
    sender: str
    id: str
    ts: int
    body: str
    state: str


Pair = tuple[str, str]


def pair_of(one: str, other: str) -> Pair:
    """Name the conversation of two users, whoever asks."""
    return (one, other) if one < other else (other, one)


@dataclass(frozen=True, slots=True)
class DeviceEnd:
    """What a device knows in the end, per peer: where it started, its cursor and the marks of the peer."""

    user: str
    device: str
    start: dict[str, int]
    cursor: dict[str, int]
    own_read: dict[str, int]
    peer_delivered: dict[str, int]
    peer_read: dict[str, int]
    held: dict[str, dict[int, str]]
    """Per peer: seq to message id."""
    unanswered: frozenset[str]


@dataclass(frozen=True, slots=True)
class FinalState:
    """The end of a run: the logs that the server gives out, and what the devices hold."""

    logs: dict[Pair, list[Entry]]
    devices: list[DeviceEnd]


def sendings_by_id(history: History) -> dict[tuple[str, str, str], list[Sending]]:
    """Group the transmissions by what identifies a message: (sender, peer, id)."""
    grouped: dict[tuple[str, str, str], list[Sending]] = defaultdict(list)
    for item in history.observations:
        if isinstance(item, Sending):
            grouped[item.user, item.peer, item.id].append(item)
    return grouped
