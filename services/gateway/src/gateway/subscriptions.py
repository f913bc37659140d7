"""Owns the repeated announcements of who is watched here: presence keeps a subscription for a while only.

They are read off the registry, a few at a time; none is ever queued in advance.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from gateway.registry import Registry

STEPS_PER_ROUND: Final = 1_200
"""Steps, one at each tick of the sweeper, so 60 s, in which each watched user is announced once: a third of presence's
180 s, so that two may get lost."""
STEPS_AT_ONCE: Final = 60
"""The same, so 3 s, when presence may know nothing of them."""


class Subscriptions:
    """Announces all watched users, over and over."""

    def __init__(self, *, registry: Registry, announce: Callable[[Sequence[str]], None]) -> None:
        self._registry, self._announce = registry, announce
        self._left: deque[str] = deque()
        self._per_step = self._steps_left = 0

    def again(self) -> None:
        """Begin anew, and be through soon: Redis was wiped, or what it told was not heard."""
        self._begin(STEPS_AT_ONCE)

    def step(self) -> None:
        """Announce the next few."""
        if not self._steps_left:
            self._begin(STEPS_PER_ROUND)
        self._steps_left -= 1
        users = [self._left.popleft() for _ in range(min(self._per_step, len(self._left)))]
        due = [user for user in users if user in self._registry.watchers]
        if due:
            self._announce(due)

    def _begin(self, steps: int) -> None:
        self._left = deque(self._registry.watchers)
        self._per_step, self._steps_left = ceil(len(self._left) / steps), steps
