"""Owns what the gateway does when its way through Redis was broken (R4a, R6): enter again, sync again, send away."""

import asyncio
from collections.abc import Callable
from typing import Final

from chatcore.errors import StoreUnavailable
from chatcore.ids import UserId
from chatcore.logs import get_logger
from chatcore.stream import Connected

from gateway.connection import Connection
from gateway.drain import Drain
from gateway.forwarding import Forwarder
from gateway.outbox import Outbox
from gateway.registry import Registry
from gateway.syncs import Syncs

CHUNK: Final = 200
"""Members of one pipeline: redis-py packs commands on the event loop."""

log = get_logger(__name__)


class Recovery:
    """Reacts to what the watch and the subscriber saw."""

    def __init__(
        self,
        *,
        registry: Registry,
        outbox: Outbox,
        syncs: Syncs,
        forwarder: Forwarder,
        drain: Drain,
        renew: Callable[[], None],
        welcome_epoch: Callable[[str], None],
    ) -> None:
        self._registry, self._outbox, self._syncs = registry, outbox, syncs
        self._forwarder, self._drain = forwarder, drain
        self._renew, self._welcome_epoch = renew, welcome_epoch
        self._wiped = asyncio.Event()
        self._epoch = ""

    def wiped(self) -> None:
        """Enter everybody again, then sync them."""
        self._wiped.set()

    def unheard(self) -> None:
        """Subscribe anew."""
        log.warning("subscription_unheard")
        self._renew()

    def lost(self) -> None:
        """Send the clients to gateways that have a way through Redis."""
        self._drain.dismiss("unreachable")

    def gap(self) -> None:
        """Something may have been published and not heard."""
        self._syncs.again("gap")

    def epoch_known(self, epoch: str) -> None:
        """A new database epoch ends all connections: the next welcome names it."""
        if self._epoch and epoch != self._epoch:
            log.warning("database_epoch_changed")
            self._drain.dismiss("restored")
        if epoch != self._epoch:
            self._epoch = epoch
            self._welcome_epoch(epoch)

    async def run(self) -> None:
        """Enter again after each wipe, until cancelled."""
        while True:
            await self._wiped.wait()
            self._wiped.clear()
            try:
                await self._enter_again()
            except StoreUnavailable as error:
                log.warning("reentry_failed", error=str(error))
                self._wiped.set()
                await asyncio.sleep(0.5)
                continue
            self._forwarder.announce(list(self._registry.watchers))
            self._syncs.again("wipe", twice=True)

    async def _enter_again(self) -> None:
        entered = [c for c in self._registry.by_number.values() if c.member]
        for at in range(0, len(entered), CHUNK):
            futures = [self._enter(c) for c in entered[at : at + CHUNK] if self._is_here(c)]
            answers = await asyncio.gather(*futures, return_exceptions=True)
            failed = next((answer for answer in answers if isinstance(answer, BaseException)), None)
            if failed is not None:
                raise failed
        for connection in entered:
            if self._is_here(connection):
                self._outbox.tell(Connected(UserId(connection.user), connection.member))

    def _enter(self, connection: Connection) -> "asyncio.Future[int]":
        draft = connection.member.rpartition("|")[0]
        return self._outbox.enter(connection.user, draft, connection.entered_ms)

    def _is_here(self, connection: Connection) -> bool:
        return self._registry.by_number.get(connection.number) is connection
