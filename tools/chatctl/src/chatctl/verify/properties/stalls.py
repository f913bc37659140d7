"""Owns the property of a client that does not read: it moves nobody else (G11).

Pure. It looks at the trial of a run (`verify.stalling`) alone: there both halves of a round differ in nothing else.
"""

from bisect import bisect_left
from dataclasses import dataclass
from statistics import median
from typing import Final

from chatctl.verify import history as h
from chatctl.verify.case import Case
from chatctl.verify.history import Half
from chatctl.verify.properties.violation import Found, Violation

STALL_RATIO: Final = 3.0
STALL_SAMPLES: Final = 300
"""Of either kind of halves: below it, their 99th percentiles are the word of a few messages."""
STALL_FLOOR_S: Final = 0.25
"""A 99th percentile below it moves nobody: on a busy machine the ratio of two small ones is noise."""


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share of the sorted values lies; 0 of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


@dataclass(frozen=True, slots=True)
class StallEffect:
    """What one client that does not read did to the others: the middle one of the halves' 99th percentiles, in seconds.

    The middle one, because what the machine does in one half, or two of five, is nobody's fault.
    """

    stalled_s: float
    usual_s: float
    samples: int

    @property
    def ratio(self) -> float:
        """How many times longer."""
        return self.stalled_s / self.usual_s if self.usual_s else 0.0


def effect_of_stalls(case: Case) -> StallEffect:
    """Compare the sends of the others in the halves of the trial in which a client stalled with those of the rest."""
    stalling = {(item.user, item.device) for item in case.of(h.Stalling)}
    sendings = [item for item in case.of(h.Sending) if (item.user, item.device) not in stalling]
    stalled: list[list[float]] = []
    usual: list[list[float]] = []
    for half in case.history.halves:
        if took := _took(case, sendings, half):
            (stalled if half.stalls else usual).append(took)
    samples = min(sum(len(took) for took in halves) for halves in (stalled, usual))
    return StallEffect(_middle(stalled), _middle(usual), samples=samples)


def _took(case: Case, sendings: list[h.Sending], half: Half) -> list[float]:
    """Return how long the messages of a half took, sorted; one without an answer takes until the run's end."""
    first = bisect_left(sendings, half.begun_s, key=lambda item: item.at_s)
    beyond = bisect_left(sendings, half.ended_s, key=lambda item: item.at_s)
    took = []
    for sending in sendings[first:beyond]:
        key = (sending.user, sending.peer, sending.id)
        ended_s = case.confirmed[key][0].at_s if key in case.confirmed else case.end_s
        if case.sendings[key][0] is sending and not case.disturbed(sending.at_s, ended_s):
            took.append(ended_s - sending.at_s)
    return sorted(took)


def _middle(halves: list[list[float]]) -> float:
    return median(percentile(took, 0.99) for took in halves) if halves else 0.0


def too_few_stalled_sends(case: Case) -> str:
    """Say how few sends there are to compare, if they are too few."""
    samples = effect_of_stalls(case).samples
    return f"{samples} sends to compare, of {STALL_SAMPLES} that it takes" if samples < STALL_SAMPLES else ""


def a_stalled_client_moves_nobody(case: Case) -> Found:
    """A client that does not read moved nobody else's 99th percentile beyond 3 times."""
    effect = effect_of_stalls(case)
    if effect.ratio > STALL_RATIO and effect.stalled_s > STALL_FLOOR_S:
        yield Violation(f"sends took {effect.stalled_s * 1000:.0f} ms instead of {effect.usual_s * 1000:.0f}")
