"""Owns the token bucket: a rate with a burst. Pure; time is an argument."""


class Bucket:
    """Holds up to `burst` tokens and gains `rate` a second."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._filled_at = rate, burst, burst, now

    def spend(self, now: float) -> int:
        """Take one token; gives 0, or the milliseconds until there is one."""
        tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if tokens >= 1.0:
            self._tokens = tokens - 1.0
            return 0
        self._tokens = tokens
        return int((1.0 - tokens) / self._rate * 1000) + 1

    def full(self, now: float) -> bool:
        """Whether it is as good as new."""
        return self._tokens + (now - self._filled_at) * self._rate >= self._burst
