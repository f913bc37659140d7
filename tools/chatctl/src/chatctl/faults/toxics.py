"""The words for what is wrong with a line, after Toxiproxy's: each names one trouble of one direction. Pure.

A toxic afflicts a connection with its probability, decided once for each connection. Several may be in force at once:
a piece of data passes through them in the order of `Toxic`'s alternatives.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from random import Random
from typing import Final

WAY_BYTES: Final = 1_024
"""Bytes that leave at once over a line of a bounded rate, so that a slow line trickles and does not gush."""


Hears = Callable[[bytes], bool]


class Direction(StrEnum):
    """Which way data goes: from the client to the server, or back."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Afflicting:
    """What all toxics have."""

    direction: Direction
    toxicity: float = 1.0
    """The probability with which a connection is afflicted."""

    def __str__(self) -> str:
        """Tell it to a person in a few words."""
        rest = (
            f"{field.name} {value:.4g}" if isinstance(value, float) else f"{field.name} {value}"
            for field in fields(self)
            if field.name != "direction" and (value := getattr(self, field.name)) != field.default
        )
        return " ".join((type(self).__name__, self.direction, *rest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout(Afflicting):
    """Nothing passes, nor does an end of the connection, as on a cut cable.

    What was sent waits, and arrives when the line is whole again: Toxiproxy would drop it, TCP sends it again. A
    connection on which something waited for `timeout_s` is cut; 0: never.
    """

    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer(Afflicting):
    """Both ends get a reset (RST) at the first piece of data that comes `after_s` or later after the one before."""

    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Afflicting):
    """Every piece takes `latency_s` longer, give or take up to `jitter_s`; order is kept."""

    latency_s: float
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(Afflicting):
    """No more than `bytes_per_s` pass."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer(Afflicting):
    """Data is cut into pieces of `average_bytes`, give or take `variation_bytes`, `delay_s` apart."""

    average_bytes: int
    variation_bytes: int = 0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData(Afflicting):
    """The connection is cut when `limit_bytes` have passed since it was afflicted."""

    limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseAnswer(Afflicting):
    """A request passes, and both ends get a reset instead of its answer.

    `direction` is the request's. The first bytes that come back prove that the server acted; they are dropped.
    """

    listener: Callable[[], Hears]
    """Makes who listens to one connection: it is told every piece, and tells when such a request has passed whole."""


Toxic = Timeout | ResetPeer | Latency | Bandwidth | Slicer | LimitData | LoseAnswer


def slices(toxic: Slicer, data: bytes, random: Random) -> Iterator[bytes]:
    """Cut data as a slicer does."""
    at = 0
    while at < len(data):
        size = max(1, toxic.average_bytes + random.randint(-toxic.variation_bytes, toxic.variation_bytes))
        yield data[at : at + size]
        at += size


def delay_of(toxic: Latency, random: Random) -> float:
    """Draw how much longer one piece takes."""
    return max(0.0, toxic.latency_s + random.uniform(-toxic.jitter_s, toxic.jitter_s))
