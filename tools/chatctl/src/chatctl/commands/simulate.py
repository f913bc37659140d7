"""`simulate`: whole systems on twins of their stores, a virtual minute from each seed."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from chatctl.simulate.run import Verdict, run_seed

SHOWN = 5
"""Violations of one seed that are printed."""
say: Final = partial(print, flush=True)
"""Whoever reads along through a pipe reads each line when it is written."""


@dataclass(slots=True)
class _Sum:
    """What came of all seeds together."""

    seeds: int = 0
    broken: int = 0
    messages: int = 0
    faults: int = 0
    calls: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count a seed."""
        self.seeds += 1
        self.broken += bool(verdict.violations)
        self.messages += verdict.messages
        self.faults += verdict.faults
        self.calls += verdict.calls


def simulate(
    *, seeds: int = 100, seed: str | None = None, first: int = 0, minutes: float = 0.0, trace: bool = False
) -> None:
    """Run the services on twins of Redis and MySQL under virtual time, break them, and judge each run.

    Parameters
    ----------
    seeds
        How many seeds, from `--first` on.
    seed
        Run this one seed alone.
    first
        The first seed.
    minutes
        Stop after so many minutes instead.
    trace
        Print every step of a run.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    began = time.monotonic()
    names = iter([seed]) if seed is not None else _names(first, None if minutes else seeds)
    done = _Sum()
    for name in names:
        verdict = run_seed(name, tell=say if trace else None)
        done.add(verdict)
        if verdict.violations or seed is not None:
            _tell(verdict)
        if minutes and time.monotonic() - began > minutes * 60:
            break
    took_s = time.monotonic() - began
    say(
        f"{done.seeds} seeds, {done.messages} messages, {done.faults} faults, {done.calls} calls that went wrong, "
        f"{took_s:.0f} s ({took_s / done.seeds:.2f} s a seed); {done.broken} with violations"
    )
    if done.broken:
        sys.exit(1)


def _names(first: int, most: int | None) -> Iterator[str]:
    number = first
    while most is None or number < first + most:
        yield str(number)
        number += 1


def _tell(verdict: Verdict) -> None:
    said = f"{verdict.faults} faults, {verdict.calls} calls that went wrong, {verdict.messages} messages"
    say(f"seed {verdict.seed}: trace {verdict.digest}, {said}")
    for violation in verdict.violations[:SHOWN]:
        say(f"  {violation}")
    if len(verdict.violations) > SHOWN:
        say(f"  and {len(verdict.violations) - SHOWN} more")
    if verdict.violations:
        say(f"  again: ./dev simulate --seed {verdict.seed} --trace")
