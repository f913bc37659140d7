"""Owns how clients are sent elsewhere: told in time, spread, served until they go, and closed with 1012.

One supervised task carries out all orders: a dismissal of everybody, which may be recalled, and single connections. The
drain at the end of the process does the same for all who are left, and ends them before its time is over.
"""

import asyncio
from collections import deque
from contextlib import suppress
from random import sample
from typing import Final

import orjson
from chatcore.errors import Close
from chatcore.logs import get_logger

from gateway.connection import Connection
from gateway.leaving import END_S, GRACE_S, Reason, times
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry

DISMISS_S: Final = 30.0
"""Seconds over which a dismissal goes, at most."""
TICK_S: Final = 0.05
"""Seconds between two looks while somebody is on the way out: what falls due within it is done together."""
LAST_S: Final = 0.5
"""Seconds for the last Close frames when the time is over, and again for those who are aborted to leave Redis."""

log = get_logger(__name__)


class Drain:
    """Sends clients away."""

    def __init__(self, registry: Registry, metrics: GatewayMetrics) -> None:
        self._registry, self._metrics = registry, metrics
        self._reason = Reason.DRAINING
        """Of the dismissal under way."""
        self._telling: deque[tuple[float, Connection]] = deque()
        """Whom the dismissal tells, and when; no more than there are."""
        self._closing: deque[tuple[float, Connection, Reason]] = deque()
        """Who was told, and when to close them; each is in it once."""
        self._ordered = asyncio.Event()
        self.leaving = False
        """The process was told to end: it is unready, and still serves."""
        self.draining = False
        """Nobody is let in any more."""

    def dismiss(self, reason: Reason, *, within_s: float = DISMISS_S) -> None:
        """Tell everybody who is here now, one after the other, to go at once; the gateway goes on.

        A dismissal that may not be recalled is not replaced by one that may.
        """
        if self.draining or (self._telling and self._reason is Reason.RESTORED):
            return
        now, connections = asyncio.get_running_loop().time(), self._all()
        log.info("sending_away", reason=reason, connections=len(connections))
        due = [now + after_s for after_s in times(len(connections), within_s)]
        self._reason, self._telling = reason, deque(zip(due, connections, strict=True))
        self._ordered.set()

    def recall(self, reason: Reason) -> None:
        """End a dismissal for this reason: it no longer holds. Who was told already is closed at its time."""
        if self._telling and self._reason is reason:
            log.info("recalled", reason=reason, connections=len(self._telling))
            self._telling.clear()

    def send_off(self, connection: Connection, reason: Reason) -> None:
        """Tell one client to go at once, and close it when its time is over."""
        if not self.draining:
            self._tell(connection, reason, 0.0)
            self._ordered.set()

    async def run(self) -> None:
        """Carry out what was ordered, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._ordered.wait()
            self._ordered.clear()
            while self._telling or self._closing:
                self.step(loop.time())
                await asyncio.sleep(TICK_S)

    def step(self, now: float) -> None:
        """Tell and close whoever is due."""
        while self._telling and self._telling[0][0] <= now:
            self._tell(self._telling.popleft()[1], self._reason, 0.0)
        while self._closing and self._closing[0][0] <= now:
            _, connection, reason = self._closing.popleft()
            if self._is_here(connection):
                connection.close_soon(Close.DRAINING, reason)

    async def announce(self, *, for_s: float) -> None:
        """Be unready, and serve on for a while: load balancers have to notice before handshakes are refused."""
        self.leaving = True
        await asyncio.sleep(for_s)

    async def drain(self, *, within_s: float) -> None:
        """Let nobody in, send everybody away, and abort who is still here before the time is over."""
        self.leaving = self.draining = True
        self._telling.clear()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s - 2 * LAST_S
        self._tell_all(within_s - END_S)
        while self._registry.by_number and loop.time() < deadline:
            self._tell_latecomers()
            self.step(loop.time())
            await asyncio.sleep(TICK_S)
        await self._end_rest()

    def _tell_all(self, within_s: float) -> None:
        connections = [connection for connection in self._all() if not connection.leaving]
        log.info("sending_away", reason=Reason.DRAINING, connections=len(connections))
        for after_s, connection in zip(times(len(connections), within_s), connections, strict=True):
            self._tell(connection, Reason.DRAINING, after_s)

    def _tell_latecomers(self) -> None:
        """Tell those whose handshake was under way when everybody else was told."""
        for connection in reversed(self._registry.by_number.values()):
            if connection.leaving:
                return
            self._tell(connection, Reason.DRAINING, 0.0)

    async def _end_rest(self) -> None:
        """Close whoever is left, then abort them, and let each leave Redis before the outbox is flushed."""
        if self._registry.by_number:
            log.warning("drain_cut_short", connections=len(self._registry.by_number))
            for connection in self._all():
                connection.close_soon(Close.DRAINING, Reason.DRAINING)
            await self._emptied(LAST_S)
        for connection in self._all():
            connection.abort()
        await self._emptied(LAST_S)

    def _tell(self, connection: Connection, reason: Reason, after_s: float) -> None:
        if connection.leaving or not self._is_here(connection):
            return
        connection.leaving = True
        connection.push(goaway(reason, int(after_s * 1000)))
        self._metrics.sent_away.counts[reason.value] += 1
        self._metrics.frames_out.counts["goaway"] += 1
        self._closing.append((asyncio.get_running_loop().time() + after_s + GRACE_S, connection, reason))

    def _all(self) -> list[Connection]:
        """Give everybody who is here, in no order: those who came together do not leave together."""
        connections = list(self._registry.by_number.values())
        return sample(connections, k=len(connections))

    def _is_here(self, connection: Connection) -> bool:
        return self._registry.by_number.get(connection.number) is connection

    async def _emptied(self, within_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._registry.emptied.wait()


def goaway(reason: Reason, after_ms: int) -> bytes:
    """Write a `goaway` frame."""
    return orjson.dumps({"type": "goaway", "reason": reason.value, "reconnect_after_ms": after_ms})


def queued_bytes(connections: list[Connection]) -> float:
    """Sum what waits for slow readers."""
    return float(sum(connection.queued_bytes for connection in connections))
