"""`simulate`: whole systems on twins of their stores, a virtual minute from each seed."""

import sys
import time
from collections.abc import Iterator

import structlog

from chatctl.simulate.run import Verdict, run_seed

SHOWN = 5
"""Violations of one seed that are printed."""


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
    ran = failed = messages = 0
    for name in names:
        verdict = run_seed(name, tell=print if trace else None)
        ran, messages, failed = ran + 1, messages + verdict.messages, failed + bool(verdict.violations)
        if verdict.violations or seed is not None:
            _tell(verdict)
        if minutes and time.monotonic() - began > minutes * 60:
            break
    took_s = time.monotonic() - began
    print(f"{ran} seeds, {messages} messages, {took_s:.0f} s ({took_s / ran:.2f} s a seed); {failed} with violations")
    if failed:
        sys.exit(1)


def _names(first: int, most: int | None) -> Iterator[str]:
    number = first
    while most is None or number < first + most:
        yield str(number)
        number += 1


def _tell(verdict: Verdict) -> None:
    print(f"seed {verdict.seed}: trace {verdict.digest}, {verdict.faults} faults, {verdict.messages} messages")
    for violation in verdict.violations[:SHOWN]:
        print(f"  {violation}")
    if len(verdict.violations) > SHOWN:
        print(f"  and {len(verdict.violations) - SHOWN} more")
    if verdict.violations:
        print(f"  again: ./dev simulate --seed {verdict.seed} --trace")
