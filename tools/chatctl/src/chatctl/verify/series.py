"""Owns the curves of a run, second by second: what was confirmed, what waits, how long answers took. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from chatctl.verify.case import FOR_EVER, Case
from chatctl.verify.properties.stalls import percentile


@dataclass(frozen=True, slots=True)
class Band:
    """A fault on the time line; seconds from the run's begin."""

    begin_s: float
    end_s: float
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each second of a run, of each curve."""

    length_s: int
    confirmed: Sequence[float]
    """Messages confirmed in that second."""
    waiting: Sequence[float]
    """Messages that were sent and not yet confirmed at its end."""
    p50_ms: Sequence[float]
    """Of the messages that were confirmed in that second, from first transmission to first `sent`."""
    p99_ms: Sequence[float]
    faults: Sequence[Band]
    calm_s: float | None


def series_of(case: Case) -> Series:
    """Draw the curves off a history."""
    begun_s = case.history.begun_s
    length = max(1, int(case.end_s - begun_s) + 1)
    took: dict[int, list[float]] = defaultdict(list)
    steps = [0] * (length + 2)
    for key, sendings in case.sendings.items():
        sent_s = case.confirmed[key][0].at_s if key in case.confirmed else FOR_EVER
        steps[_second(sendings[0].at_s, begun_s, length)] += 1
        if sent_s < FOR_EVER:
            second = _second(sent_s, begun_s, length)
            steps[second] -= 1
            took[second].append((sent_s - sendings[0].at_s) * 1000)
    waiting, now = [], 0
    for step in steps[:length]:
        now += step
        waiting.append(float(now))
    return Series(
        length_s=length,
        confirmed=[float(len(took[second])) for second in range(length)],
        waiting=waiting,
        p50_ms=[percentile(sorted(took[second]), 0.5) for second in range(length)],
        p99_ms=[percentile(sorted(took[second]), 0.99) for second in range(length)],
        faults=_bands(case, begun_s),
        calm_s=None if case.history.calm_s is None else case.history.calm_s - begun_s,
    )


def _second(at_s: float, begun_s: float, length: int) -> int:
    return min(length - 1, max(0, int(at_s - begun_s)))


def _bands(case: Case, begun_s: float) -> list[Band]:
    told = case.disturbances[:-1] if case.history.faults else []  # the last is the way back to calm
    bands = [Band(b - begun_s, min(e, case.end_s) - begun_s, fault.kind, fault.target) for b, e, fault in told]
    return sorted(bands, key=lambda band: band.begin_s)
