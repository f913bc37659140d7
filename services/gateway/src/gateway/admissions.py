"""Owns how many handshakes wait for Redis and a worker at once, and when those that are too many come again. No I/O.

Past the bound a handshake would wait until it is given up, and its work would be for nothing: so it is refused at once.
"""

from collections import Counter
from math import ceil
from typing import Final

FIRST_WAIT_S: Final = 1.0
"""Seconds that a handshake is taken to wait until one was measured."""
MOST_S: Final = 30
"""The longest Retry-After: the longest backoff of a client, too."""


class Admissions:
    """Counts the waiting, and gives each of those sent away a time of its own, as if it stood in line."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._wait_s = FIRST_WAIT_S
        self._told: Counter[int] = Counter()
        """By second: how many were told to come again then. Who is due stands in line no more: whoever comes too late
        once more is counted anew, and each once. Never more than `MOST_S` + 1 seconds."""
        self.waiting = 0

    def begin(self) -> None:
        """Count a handshake that waits from now on."""
        self.waiting += 1

    def end(self, waited_s: float, *, admitted: bool) -> None:
        """It waits no more; how long an admitted one did is how long the next ones will."""
        self.waiting -= 1
        if admitted:
            self._wait_s = waited_s

    def refuse(self, now_s: float) -> int | None:
        """Give the seconds after which one more may come again; None while there is room."""
        if not self._most or self.waiting < self._most:
            return None
        for second in [second for second in self._told if second <= now_s]:
            del self._told[second]
        line = self._told.total() + 1
        again_s = max(1, min(MOST_S, ceil(self._wait_s * (1 + line / self._most))))
        self._told[int(now_s) + again_s] += 1
        return again_s
