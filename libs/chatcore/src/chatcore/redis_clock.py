"""Owns Redis's clock as this process sees it: what two processes measure between them, they measure by it.

For latencies only, never for order.
"""

from time import monotonic, time
from typing import Any, Final

from chatcore.redis_client import answered

READ_S: Final = 10.0
"""Seconds between two readings: clocks drift by less than a millisecond meanwhile."""


class RedisClock:
    """The clock of this process, corrected by how far Redis's is ahead. Until the first reading it is not corrected."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._read_at = float("-inf")

    def now_ms(self) -> float:
        """Give Redis's time, to within half a round trip."""
        return (time() + self._ahead_s) * 1000

    def off_ms(self) -> int:
        """Tell how far the clock of this process is ahead of Redis's, as last read; 0 before that."""
        return -round(self._ahead_s * 1000)

    async def read(self, redis: Any) -> None:
        """Read it again, if the last reading is old. Raises `StoreUnavailable`."""
        began = monotonic()
        if began - self._read_at < READ_S:
            return
        before = time()
        seconds, micros = await answered(redis.time())
        middle = before + (monotonic() - began) / 2
        self._ahead_s = int(seconds) + int(micros) / 1e6 - middle
        self._read_at = began
