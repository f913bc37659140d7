"""When which fault is inflicted on whom: a plan, drawn from a seed. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Final

from chatctl.faults.kinds import KINDS, choice_of, targets_of
from chatctl.faults.shape import Shape

PERIOD_S: Final = 14.0
"""The length of a period with several faults, by which a plan is measured out."""
FREE_S: Final = (6.0, 10.0)
"""Seconds of a period without faults: long enough for everybody to be whole again."""
STRIDE: Final = 4
"""Of so many periods in a row one is free of faults."""
AT_ONCE: Final = 3
"""The most faults of one period, where the time suffices for every kind to have its turn."""
SPREAD_S: Final = 2.0
"""Seconds from a period's begin in which its faults begin."""
LAST_S: Final = 1.0
"""Seconds between the last fault's end and the plan's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFault:
    """One fault of a plan."""

    at_s: float
    """From the plan's begin."""
    lasts_s: float
    kind: str
    target: str
    seed: int
    """What is drawn while it is inflicted, is drawn from this."""

    @property
    def until_s(self) -> float:
        """When it ends."""
        return self.at_s + self.lasts_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All faults of a run, in the order of their begin."""

    seed: int
    duration_s: float
    faults: tuple[TimedFault, ...]


def plan_of(seed: int, duration_s: float, kinds: Sequence[str] = tuple(KINDS), *, shape: Shape | None = None) -> Plan:
    """Draw a plan: the same seed, kinds and shape give the same one. A kind may name its targets: `kill:worker`.

    About a quarter of the periods is free of faults; every kind has its turn before one comes again; all faults end
    before the plan does. Raises `ValueError` for an unknown kind, and for a plan that is over before it begins.
    """
    if duration_s <= LAST_S:
        raise ValueError(f"a plan takes more than {LAST_S:.0f} s")
    random = Random(f"faults {seed}")  # noqa: S311 - a seed is to give the same again
    parts = shape or Shape()
    dealt = _dealt(random, [kind for kind in kinds if targets_of(kind, parts)])
    faults: list[TimedFault] = []
    began_s = 0.0
    for free in _free(random):
        if began_s >= duration_s - LAST_S:
            break
        rest_s, waiting = duration_s - began_s, len(kinds) - len(faults)
        if free and faults and (waiting <= 0 or rest_s > FREE_S[1] + PERIOD_S):
            began_s += random.uniform(*FREE_S)
            continue
        count = max(_least_at_once(waiting, rest_s), random.randint(1, AT_ONCE))
        period = [_timed(random, kind, began_s, duration_s - LAST_S, parts) for kind in islice(dealt, count)]
        faults += period
        began_s = max((fault.until_s for fault in period), default=duration_s) + random.uniform(0.0, 1.0)
    return Plan(seed=seed, duration_s=duration_s, faults=tuple(sorted(faults, key=lambda fault: fault.at_s)))


def _dealt(random: Random, kinds: Sequence[str]) -> Iterator[str]:
    """Deal kinds for ever, from one shuffled deck after the other."""
    while kinds:
        yield from random.sample(kinds, len(kinds))


def _free(random: Random) -> Iterator[bool]:
    """Tell of each period whether it is free of faults."""
    while True:
        chosen = random.randrange(STRIDE)
        yield from (index == chosen for index in range(STRIDE))


def _least_at_once(kinds: int, rest_s: float) -> int:
    """Count the faults that each period needs for so many kinds to have their turn in the rest of the time."""
    periods = max(1, int(rest_s / PERIOD_S * (STRIDE - 1) / STRIDE))
    return -(-kinds // periods)


def _timed(random: Random, name: str, began_s: float, end_s: float, shape: Shape) -> TimedFault:
    kind, _ = choice_of(name)
    lasts_s = min(random.uniform(*kind.lasts_s), end_s)
    at_s = min(began_s + random.uniform(0.0, SPREAD_S), end_s - lasts_s)
    target = random.choice(targets_of(name, shape))
    return TimedFault(at_s=at_s, lasts_s=lasts_s, kind=kind.name, target=target, seed=random.getrandbits(32))
