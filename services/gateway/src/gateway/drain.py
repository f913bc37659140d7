"""Owns how clients are sent elsewhere: told in time, spread, served until they go, and closed with 1012."""

import asyncio
from contextlib import suppress
from random import uniform
from typing import Final

import orjson
from chatcore.errors import Close
from chatcore.logs import get_logger

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry

GRACE_S: Final = 2.0
"""Seconds that a connection works on after the time at which its client was asked to come back elsewhere."""
PER_S: Final = 100
"""Clients sent away a second: what the other gateways and the workers take as handshakes without strain."""
END_S: Final = 1.5
"""Seconds for the last Close frames to be answered."""
LAST_S: Final = 0.5
"""The same, when the time is over and the rest is aborted."""

log = get_logger(__name__)


class Drain:
    """Sends clients away."""

    def __init__(self, registry: Registry, metrics: GatewayMetrics) -> None:
        self._registry, self._metrics = registry, metrics
        self._sending: set[asyncio.Task[None]] = set()
        self.draining = False

    def dismiss(self, reason: str, *, within_s: float = 30.0) -> None:
        """Send everybody away who is here now, in the background; the gateway goes on. Owned until `stop`."""
        task = asyncio.create_task(self.send_away(reason, within_s=within_s), name=f"dismiss-{reason}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def stop(self) -> None:
        """End what `dismiss` began."""
        for task in self._sending:
            task.cancel()

    async def drain(self, *, within_s: float) -> None:
        """Let nobody in, send everybody away, and abort who is still here before the time is over."""
        self.draining = True
        try:
            async with asyncio.timeout(within_s):
                await self.send_away("draining", within_s=within_s - END_S)
                await self._registry.emptied.wait()
        except TimeoutError:
            log.warning("drain_cut_short", connections=len(self._registry.by_number))
            await self._close_rest()
        for connection in list(self._registry.by_number.values()):
            connection.abort()
        # Each leaves Redis in a turn of its own, before the outbox is flushed.
        await self._until(asyncio.get_running_loop().time() + LAST_S)

    async def send_away(self, reason: str, *, within_s: float) -> None:
        """Tell all who are here when to come back elsewhere, then close each at least 2 s after its time."""
        connections = list(self._registry.by_number.values())
        log.info("sending_away", reason=reason, connections=len(connections))
        spread_s = max(0.0, min(within_s - GRACE_S, 0.2 + len(connections) / PER_S))
        loop = asyncio.get_running_loop()
        began = loop.time()
        plan = sorted(((uniform(0.0, spread_s), c) for c in connections), key=lambda pair: pair[0])  # noqa: S311 - jitter
        for after_s, connection in plan:
            connection.push(goaway(reason, int(after_s * 1000)))
        self._metrics.frames_out.counts["goaway"] += len(plan)
        for after_s, connection in plan:
            await self._until(began + after_s + GRACE_S)
            if self._registry.by_number.get(connection.number) is connection:
                connection.close(Close.DRAINING, reason)

    async def _close_rest(self) -> None:
        for connection in list(self._registry.by_number.values()):
            connection.close(Close.DRAINING, "draining")
        await self._until(asyncio.get_running_loop().time() + LAST_S)

    async def _until(self, due: float) -> None:
        """Wait for a time, or until nobody is left to wait for."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._registry.emptied.wait()


def goaway(reason: str, after_ms: int) -> bytes:
    """Write a `goaway` frame."""
    return orjson.dumps({"type": "goaway", "reason": reason, "reconnect_after_ms": after_ms})


def queued_bytes(connections: list[Connection]) -> float:
    """Sum what waits for slow readers."""
    return float(sum(connection.queued_bytes for connection in connections))
