"""Owns how latencies are counted: in buckets of the HDR kind, at most 1.6 % wide, whatever their range. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Self

SUB_BITS: Final = 6
"""64 buckets between two powers of two: a value is off by 1.6 % at most."""


class Histogram:
    """Counts of durations in microseconds. Two of them add up without loss, so each process keeps its own."""

    __slots__ = ("counts", "highest_us")

    def __init__(self, counts: Mapping[int, int] = {}, highest_us: int = 0) -> None:
        self.counts: Counter[int] = Counter(counts)
        self.highest_us = highest_us

    def record(self, seconds: float) -> None:
        """Count one duration."""
        value = int(seconds * 1e6)
        if value > self.highest_us:
            self.highest_us = value
        shift = value.bit_length() - SUB_BITS - 1
        self.counts[value if shift <= 0 else (shift << SUB_BITS) + (value >> shift)] += 1

    @property
    def total(self) -> int:
        """How many were counted."""
        return self.counts.total()

    def add(self, other: Self) -> None:
        """Count what the other one counted too."""
        self.counts.update(other.counts)
        self.highest_us = max(self.highest_us, other.highest_us)

    def percentile_ms(self, percent: float) -> float:
        """Give the duration that `percent` of all do not pass, in ms; 0 where nothing was counted."""
        if percent >= 100:
            return self.highest_us / 1e3
        wanted, seen = self.total * percent / 100, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(_upper_us(bucket), self.highest_us) / 1e3
        return 0.0

    def dump(self) -> dict[str, object]:
        """Give it as JSON takes it."""
        return {"counts": {str(bucket): count for bucket, count in self.counts.items()}, "highest_us": self.highest_us}

    @classmethod
    def load(cls, dumped: Mapping[str, object]) -> Self:
        """Read what `dump` gave."""
        counts, highest = dumped["counts"], dumped["highest_us"]
        if not isinstance(counts, dict) or not isinstance(highest, int):
            raise TypeError("not a histogram")
        return cls({int(bucket): count for bucket, count in counts.items()}, highest)


def _upper_us(bucket: int) -> int:
    shift = max(0, (bucket >> SUB_BITS) - 1)
    return bucket if not shift else ((bucket - (shift << SUB_BITS) + 1) << shift) - 1
