"""Owns how many handshakes wait for Redis and a worker at once, and when those that are too many come again. No I/O.

Past the bound a handshake would wait until it is given up, and its work would be for nothing: so it is refused at once.
"""

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
        self._away = 0
        """Sent away, less those that were admitted since: about how many stand in line outside."""
        self.waiting = 0

    def begin(self) -> None:
        """Count a handshake that waits from now on."""
        self.waiting += 1

    def end(self, waited_s: float, *, admitted: bool) -> None:
        """It waits no more; how long an admitted one did is how long the next ones will."""
        self.waiting -= 1
        if admitted:
            self._away = max(0, self._away - 1)
            self._wait_s = waited_s

    def refuse(self) -> int | None:
        """Give the seconds after which one more may come again; None while there is room."""
        if not self._most or self.waiting < self._most:
            return None
        self._away += 1
        return max(1, min(MOST_S, ceil(self._wait_s * (1 + self._away / self._most))))
