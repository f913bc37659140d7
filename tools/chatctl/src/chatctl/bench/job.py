"""Owns what a generator is told to do, and what it says of it: the two sides of a pipe between processes. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

import orjson

from chatctl.bench.histogram import Histogram

LoadName = Literal["pairs", "away", "idle", "stanzas"]
CONNECTS_AT_ONCE: Final = 64
"""Handshakes of one generator under way: enough to keep a gateway busy, few enough to be admitted in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One generator's share of a load."""

    load: LoadName
    urls: tuple[str, ...]
    """The gateways, as `ws://host:port`."""
    secret: str
    audience: str
    issuer: str
    prefix: str
    """Of the ids of this run's users: no run meets the users of another."""
    first: int
    """Number of the first pair or device of this share."""
    count: int
    """Pairs or devices of this share."""
    in_flight: int = 0
    """Messages of a pair under way at once; 0 for an open loop."""
    rate_per_s: float = 0.0
    """Messages a second of the whole share, for an open loop."""
    body_bytes: int = 200
    missed: int = 0
    """Messages that each device missed while it was away."""
    sources: tuple[str, ...] = ("127.0.0.1",)
    """Addresses to connect from, each with as many ports as the kernel gives."""

    def encode(self) -> bytes:
        """Write it as one line."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Read what `encode` wrote."""
        values = orjson.loads(line)
        return cls(**{**values, "urls": tuple(values["urls"]), "sources": tuple(values["sources"])})


@dataclass(slots=True)
class Tally:
    """What a generator counted since the last mark."""

    counts: dict[str, int] = field(default_factory=dict)
    times: dict[str, Histogram] = field(default_factory=dict)
    cpu_s: float = 0.0
    """Of the generator itself."""

    def count(self, name: str, by: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + by

    def time(self, name: str) -> Histogram:
        """Give the histogram of that name."""
        return self.times.setdefault(name, Histogram())

    def add(self, other: "Tally") -> None:
        """Count what another generator counted too."""
        for name, by in other.counts.items():
            self.count(name, by)
        for name, histogram in other.times.items():
            self.time(name).add(histogram)
        self.cpu_s += other.cpu_s

    def dump(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        times = {name: histogram.dump() for name, histogram in self.times.items()}
        return {"counts": self.counts, "times": times, "cpu_s": self.cpu_s}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> "Tally":
        """Read what `dump` gave."""
        times = {name: Histogram.load(histogram) for name, histogram in dumped["times"].items()}
        return cls(dict(dumped["counts"]), times, dumped["cpu_s"])
