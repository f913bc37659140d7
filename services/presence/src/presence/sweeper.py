"""Owns the sweep: once a second it looks at the users whose time has come.

It must never take a device for gone because presence itself, or Redis, was away or full: after a gap nobody is swept
until every gateway has had the time to beat again (R11).
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
log = get_logger(__name__)


class Sweeper:
    """Sweeps until cancelled. Has `Devices` of its own; `share` tells others until when a look may remove."""

    def __init__(
        self, *, devices: Devices, behind: Callable[[], bool], share: Callable[[int], None], metrics: PresenceMetrics
    ) -> None:
        self._devices = devices
        self._behind = behind
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
        behind = self._behind() or await self._devices.full()
        self._sweeping, until = self._sweeping.tick(tick.now, tick.swept_ms, behind=behind)
        self._devices.sweep_until = until
        self._share(until)
        self._metrics.sweeping.set(int(until > 0))
        if not until:
            return False
        await self._devices.swept(tick.now)
        self._metrics.sweeps.inc()
        if tick.due:
            await self._devices.sweep(tick)
        return len(tick.due) == MOST
