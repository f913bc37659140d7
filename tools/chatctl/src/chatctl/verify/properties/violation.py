"""Owns what a property gives when a promise was broken. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chatctl.verify.case import Case
from chatctl.verify.history import Observation


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: what happened, and the observations that show it."""

    what: str
    shown_by: tuple[Observation, ...] = ()


Found = Iterator[Violation]
Check = Callable[[Case], Found]
