"""Owns what a run leaves behind for judgement: all that any client said or saw, in one order of time.

Pure records: it must never judge (`properties` does) and never do I/O. All clients of a run live in one event loop and
share one `History`, so its order is the order in which things happened as the clients know it. Bodies are kept as
digests. Times are seconds of the clock that the history was given.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 8
"""Of a body: two bodies of a run that differ and share one are less likely than a broken memory."""

Pair = tuple[str, str]
Key = tuple[str, str, str]
"""What identifies a message: sender, peer, id."""


def digest(body: str) -> str:
    """Return what a body is remembered by."""
    return blake2b(body.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()


def pair_of(one: str, other: str) -> Pair:
    """Name the conversation of two users, whoever asks."""
    return (one, other) if one < other else (other, one)


@dataclass(frozen=True, slots=True)
class Observation:
    """Something that a client did or saw, at `at_s`, on its connection `link` (0: on none)."""

    at_s: float
    user: str
    device: str
    link: int


@dataclass(frozen=True, slots=True)
class Connecting(Observation):
    """It began a handshake with a gateway."""

    base: str


@dataclass(frozen=True, slots=True)
class Welcomed(Observation):
    """The gateway said `welcome`."""

    gateway: str
    epoch: str
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Closed(Observation):
    """The connection ended; `ours`: the client ended it. Code 0: nothing came for 60 s, or its patience ended."""

    code: int
    ours: bool


@dataclass(frozen=True, slots=True)
class GoneAway(Observation):
    """The gateway asked to reconnect elsewhere."""

    after_ms: int


@dataclass(frozen=True, slots=True)
class Sending(Observation):
    """It put a `send` on the connection; recorded before the socket sees it."""

    peer: str
    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Forging(Observation):
    """It put a `send` with a stored id and another body on the connection: only `id_conflict` may come of it."""

    peer: str
    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Sent(Observation):
    """It received `sent`."""

    peer: str
    id: str
    seq: int
    ts: int


@dataclass(frozen=True, slots=True)
class Refusal(Observation):
    """It received an `error` for a send."""

    peer: str
    id: str
    code: str
    final: bool


@dataclass(frozen=True, slots=True)
class Seen(Observation):
    """It received a message: live, in a sync or in a page of history."""

    peer: str
    sender: str
    seq: int
    id: str
    ts: int
    digest: str
    how: str = "live"


@dataclass(frozen=True, slots=True)
class Acked(Observation):
    """It put an acknowledgement on the connection; recorded before the socket sees it."""

    peer: str
    seq: int
    read: bool


@dataclass(frozen=True, slots=True)
class Overreached(Observation):
    """It put an acknowledgement beyond every number on the connection: only `ack_ahead` may come of it."""

    peer: str
    seq: int


@dataclass(frozen=True, slots=True)
class Claimed(Observation):
    """A frame told it that user `of` has these marks in the conversation with `other`."""

    of: str
    other: str
    delivered: int
    read: int


@dataclass(frozen=True, slots=True)
class Synced(Observation):
    """A conversation as one sync named it."""

    peer: str
    last: int
    cursor: int
    read: int
    peer_delivered: int
    peer_read: int


@dataclass(frozen=True, slots=True)
class SyncDone(Observation):
    """The last page of a sync came."""

    token: str


@dataclass(frozen=True, slots=True)
class Watching(Observation):
    """It subscribed to the presence of these users, from now on and on this connection."""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresenceTold(Observation):
    """It was told whether a user is online."""

    of: str
    online: bool


@dataclass(frozen=True, slots=True)
class Stalling(Observation):
    """It stops reading (`begins`), or reads on."""

    begins: bool


@dataclass(frozen=True, slots=True)
class Garbled(Observation):
    """A frame came that the protocol does not know."""

    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the system, or its end."""

    at_s: float
    kind: str
    target: str
    begins: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One kind of operation, tried once all faults had ended: how long until it succeeded; None: never."""

    at_s: float
    operation: str
    took_s: float | None


@dataclass(frozen=True, slots=True)
class Half:
    """A half of a round of the trial in which one client stops reading (`stalls`), and in the other half does not."""

    begun_s: float
    ended_s: float
    stalls: bool


@dataclass(slots=True)
class History:
    """What happened in a run, in order."""

    observations: list[Observation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    halves: list[Half] = field(default_factory=list)
    lags: list[tuple[float, float]] = field(default_factory=list)
    """When the tool itself was late, and by how many seconds: what it saw then, it may have seen late."""
    clock: Callable[[], float] = time.monotonic
    begun_s: float = 0.0
    calm_s: float | None = None
    """When all faults had ended and every service was ready again."""
    quiet_s: float | None = None
    """When the clients ceased to begin anything new."""
    _links: int = 0

    def add(self, observation: Observation) -> None:
        """Append one observation; its place is its time."""
        self.observations.append(observation)

    def next_link(self) -> int:
        """Number a connection; no other one of the run has that number."""
        self._links += 1
        return self._links


class Witness:
    """Writes what one device says and sees into a history, with the time and its connection."""

    __slots__ = ("device", "history", "link", "user")

    def __init__(self, history: History, user: str, device: str) -> None:
        self.history = history
        self.user = user
        self.device = device
        self.link = 0

    def saw(self, kind: Callable[..., Observation], *fields: object, **named: object) -> None:
        """Record an observation of that kind; the fields are those that it has beside every observation's."""
        self.history.add(kind(self.history.clock(), self.user, self.device, self.link, *fields, **named))

    def of_link(self, link: int) -> "Witness":
        """Return a witness of the same device that stays with one connection."""
        other = Witness(self.history, self.user, self.device)
        other.link = link
        return other
