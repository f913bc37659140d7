"""Owns the sweep: once a second it looks at the users whose time has come.

It must never take a device for gone because presence itself, or Redis, was away: after a gap nobody is swept until
every gateway has had the time to beat again (R11).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from chatcore.errors import StoreUnavailable
from chatcore.logs import get_logger
from chatcore.presence import Sweeping

from presence.devices import Devices
from presence.metrics import PresenceMetrics

SWEEP_S: Final = 1.0
MOST: Final = 500
"""Users in one look of a sweep; it goes on at once while there are more."""
BEHIND_MS: Final = 8_000
"""Heartbeats that wait so long to be read: nobody knows who beats."""

log = get_logger(__name__)


class Sweeper:
    """Sweeps until cancelled. Has `Devices` of its own; `share` tells others whether sweeping is on."""

    def __init__(
        self, *, devices: Devices, lag_ms: Callable[[], int], share: Callable[[bool], None], metrics: PresenceMetrics
    ) -> None:
        self._devices = devices
        self._lag_ms = lag_ms
        self._share = share
        self._metrics = metrics
        self._sweeping = Sweeping()

    async def run(self) -> None:
        """Sweep once a second; a failing Redis is waited out."""
        while True:
            try:
                more = await self._sweep()
            except StoreUnavailable as error:
                log.warning("store_unavailable", error=str(error))
                more = False
            await asyncio.sleep(0 if more else SWEEP_S)

    async def _sweep(self) -> bool:
        tick = await self._devices.tick(MOST)
        behind = self._lag_ms() > BEHIND_MS
        self._sweeping, allowed = self._sweeping.tick(tick.now, tick.swept_ms, behind=behind)
        self._devices.sweep = allowed
        self._share(allowed)
        self._metrics.sweeping.set(int(allowed))
        if not allowed:
            return False
        await self._devices.swept(tick.now)
        if tick.due:
            await self._devices.look(tick.due, "sweep")
        return len(tick.due) == MOST
