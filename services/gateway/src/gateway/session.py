"""Owns the rules of one connection that need no I/O: rate, sends in flight, strikes, expiry, subscriptions. Pure."""

from typing import Final

from gateway.bucket import Bucket

FORGET_S: Final = 15.0
"""Seconds after which a send without an answer no longer counts as in flight."""
STRIKE_WINDOW_S: Final = 60.0
MAX_STRIKES: Final = 20
"""The 20th strike within the window closes the connection."""
LEEWAY_S: Final = 10.0
"""Seconds by which the clocks of a token's issuer and of a gateway may differ."""


class Session:
    """What one connection may still do. Times are monotonic seconds; `expires_at_s` is a wall time."""

    __slots__ = (
        "_bucket",
        "_max_in_flight",
        "_sent",
        "_strikes",
        "condemned",
        "expires_at_s",
        "in_flight",
        "subscriptions",
    )

    def __init__(self, *, rate: float, burst: float, max_in_flight: int, now: float, expires_at_s: float) -> None:
        self._bucket = Bucket(rate=rate, burst=burst, now=now)
        self._max_in_flight = max_in_flight
        # Lists and no deques: an empty deque holds 0.7 KiB, and most connections never use theirs.
        self._sent: list[list[int]] = []
        """Sends without an answer as pairs of second and count: never more than 16 of them."""
        self._strikes: list[float] = []
        """Times of the last `MAX_STRIKES` at most."""
        self.in_flight = 0
        self.condemned = False
        """It has to end: what still comes on it is not looked at."""
        self.expires_at_s = expires_at_s
        self.subscriptions: dict[str, bytes] = {}
        """By watched user, the presence frame that was told last; empty: none yet."""

    def spend(self, now: float) -> int:
        """Take one token of the rate; gives 0, or the milliseconds until there is one."""
        return self._bucket.spend(now)

    def begin_send(self, now: float) -> bool:
        """Count a send in flight; False when there are too many."""
        self._forget(now)
        if self.in_flight >= self._max_in_flight:
            return False
        second = int(now)
        if self._sent and self._sent[-1][0] == second:
            self._sent[-1][1] += 1
        else:
            self._sent.append([second, 1])
        self.in_flight += 1
        return True

    def end_send(self) -> None:
        """One send was answered: the oldest, for the count's sake. A late answer to a forgotten one counts nothing."""
        if not self._sent:
            return
        oldest = self._sent[0]
        oldest[1] -= 1
        self.in_flight -= 1
        if not oldest[1]:
            self._sent.pop(0)

    def strike(self, now: float) -> bool:
        """Count a frame at fault; True when the connection has to end."""
        self._strikes = [*self._strikes[1 - MAX_STRIKES :], now]
        self.condemned = len(self._strikes) == MAX_STRIKES and now - self._strikes[0] <= STRIKE_WINDOW_S
        return self.condemned

    def is_news(self, user: str, frame: bytes) -> bool:
        """Whether a presence frame is not what was told last of a watched user. It counts as told from now on."""
        told = self.subscriptions.get(user)
        if told is not None:
            self.subscriptions[user] = frame
        return told != frame

    def _forget(self, now: float) -> None:
        while self._sent and now - self._sent[0][0] > FORGET_S:
            self.in_flight -= self._sent.pop(0)[1]
