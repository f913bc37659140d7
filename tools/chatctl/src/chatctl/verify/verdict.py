"""Owns the verdict over a run: each property held, not asked, or broken with its shortest counter-example. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chatctl.verify.case import Case
from chatctl.verify.history import Observation, pair_of
from chatctl.verify.properties import PROPERTIES, Property
from chatctl.verify.properties.stalls import StallEffect, effect_of_stalls, percentile
from chatctl.verify.properties.violation import Violation

CONTEXT: Final = 12
"""Observations that are told around a counter-example."""
AROUND_S: Final = 5.0
"""Seconds before and after it from which they are taken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One property of a run."""

    asked: Property
    violations: Sequence[Violation]
    lacks: Sequence[str]
    """What it needs and nobody could read."""
    not_asked: str = ""
    """Why it was not asked; empty: it was."""
    around: Sequence[Observation] = ()
    """What happened around its shortest counter-example."""

    @property
    def broken(self) -> bool:
        """Whether the promise was broken."""
        return bool(self.violations)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged run."""

    findings: Sequence[Finding]
    messages: int
    observations: int
    connections: int
    send_p50_s: float
    send_p99_s: float
    stall: StallEffect

    @property
    def broken(self) -> list[Finding]:
        """The properties that did not hold."""
        return [finding for finding in self.findings if finding.broken]


def verdict_on(case: Case) -> Verdict:
    """Ask every property."""
    took = sorted(latencies(case))
    return Verdict(
        findings=[_finding(case, one) for one in PROPERTIES],
        messages=len(case.confirmed),
        observations=len(case.history.observations),
        connections=len(case.links),
        send_p50_s=percentile(took, 0.5),
        send_p99_s=percentile(took, 0.99),
        stall=effect_of_stalls(case),
    )


def latencies(case: Case) -> list[float]:
    """Return the seconds from each message's first transmission to its first `sent`."""
    return [sent[0].at_s - case.sendings[key][0].at_s for key, sent in case.confirmed.items() if key in case.sendings]


def _finding(case: Case, one: Property) -> Finding:
    if why := one.why_not_asked(case):
        return Finding(one, (), one.lacks(case.final), why)
    violations = sorted(one.check(case), key=lambda violation: len(violation.shown_by) or CONTEXT)
    around = _around(case, violations[0]) if violations else ()
    return Finding(one, violations, (), around=around)


def _around(case: Case, violation: Violation) -> Sequence[Observation]:
    """Return what was said and seen of the same conversation, or by the same user, around a counter-example."""
    if not violation.shown_by:
        return ()
    last = violation.shown_by[-1]
    pair = _pair(last)
    near = [item for item in case.history.observations if abs(item.at_s - last.at_s) <= AROUND_S]
    about = [item for item in near if (_pair(item) == pair if pair else item.user == last.user)]
    place = next((n for n, item in enumerate(about) if item is last), len(about) // 2)
    begin = max(0, place - CONTEXT // 2)
    kept = about[begin : begin + CONTEXT]
    return sorted({id(item): item for item in (*violation.shown_by, *kept)}.values(), key=lambda item: item.at_s)


def _pair(item: Observation) -> tuple[str, str] | None:
    if hasattr(item, "of") and hasattr(item, "other"):
        return pair_of(item.of, item.other)
    return pair_of(item.user, item.peer) if hasattr(item, "peer") else None
