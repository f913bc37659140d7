"""Owns what the gateway does when its way through Redis was broken (R4a, R6): enter and sync again, or send away.

Whom it is about is read off the registry, a few at a time: nothing is queued for all connections.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from chatcore.errors import StoreUnavailable
from chatcore.ids import UserId
from chatcore.logs import get_logger
from chatcore.stream import Connected

from gateway.connection import Connection
from gateway.drain import Drain
from gateway.leaving import Reason
from gateway.outbox import Outbox
from gateway.registry import Registry
from gateway.subscriptions import Subscriptions
from gateway.syncs import Syncs

CHUNK: Final = 200
"""Members of one pipeline: redis-py packs commands on the event loop."""
RETRY_S: Final = 0.5
SECOND_S: Final = 10.0
"""Seconds after a wipe's first time until the second one (R4a)."""
HEAL_S: Final = 60.0
"""Seconds between two syncs of everybody because of damaged publications: whoever writes many of them, a newer version
say, must not make a storm of syncs."""

log = get_logger(__name__)


class Recovery:
    """Reacts to what the watch, the subscriber and the door saw."""

    def __init__(
        self,
        *,
        registry: Registry,
        outbox: Outbox,
        syncs: Syncs,
        subscriptions: Subscriptions,
        drain: Drain,
        renew: Callable[[], None],
        welcome_epoch: Callable[[str], None],
    ) -> None:
        self._registry, self._outbox, self._syncs = registry, outbox, syncs
        self._subscriptions, self._drain = subscriptions, drain
        self._renew, self._welcome_epoch = renew, welcome_epoch
        self._wanted = asyncio.Event()
        self._cause = ""
        """Why to enter everybody again; empty: not to."""
        self._returned: dict[int, Connection] = {}
        """Connections to enter again, by number: never more than there are."""
        self._healing = self._hurt = False
        """Healing: a damaged publication was healed a while ago. Hurt: another one came since."""
        self._epoch = ""

    def wiped(self) -> None:
        """Redis lost everything: enter everybody again, announce who is watched, and sync; and once more later."""
        log.warning("redis_wiped")
        self._everybody("wipe")
        asyncio.get_running_loop().call_later(SECOND_S, self._everybody, "wipe")

    def gap(self) -> None:
        """Something may have been published and not heard: the same, once."""
        self._everybody("gap")

    def damaged(self) -> None:
        """A publication lost what was in it: as after a gap. Those of the next `HEAL_S` are healed together, then."""
        if self._healing:
            self._hurt = True
            return
        self._healing = True
        self.gap()
        asyncio.get_running_loop().call_later(HEAL_S, self._healed)

    def returned(self, connection: Connection) -> None:
        """A connection was silent, or not told of, for so long that its member may be gone: enter and sync it alone."""
        self._returned[connection.number] = connection
        self._wanted.set()

    def unheard(self) -> None:
        """Subscribe anew."""
        log.warning("subscription_unheard")
        self._renew()

    def lost(self) -> None:
        """Send the clients to gateways that have a way through Redis."""
        self._drain.dismiss(Reason.UNREACHABLE)

    def regained(self) -> None:
        """Keep those whom nobody told to go yet: the way through Redis is whole again."""
        self._drain.recall(Reason.UNREACHABLE)

    def epoch_known(self, epoch: str) -> None:
        """A new database epoch ends all connections: the next welcome names it."""
        if self._epoch and epoch != self._epoch:
            log.warning("database_epoch_changed")
            self._drain.dismiss(Reason.RESTORED)
        if epoch != self._epoch:
            self._epoch = epoch
            self._welcome_epoch(epoch)

    async def run(self) -> None:
        """Enter again whom it was asked for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            cause, self._cause = self._cause, ""
            returned, self._returned = self._returned, {}
            try:
                if cause:
                    self._subscriptions.again()
                    await self._enter_again(tuple(self._registry.by_number.values()), cause)
                else:
                    await self._enter_again(tuple(returned.values()), "return")
            except StoreUnavailable as error:
                log.warning("reentry_failed", error=str(error))
                self._cause = self._cause or cause
                self._returned |= returned
                await asyncio.sleep(RETRY_S)
                self._wanted.set()

    def _healed(self) -> None:
        self._healing = False
        if self._hurt:
            self._hurt = False
            self.damaged()

    def _everybody(self, cause: str) -> None:
        self._cause = cause
        self._wanted.set()

    async def _enter_again(self, connections: Sequence[Connection], cause: str) -> None:
        """Enter, tell and sync, in this order (R4). Raises `StoreUnavailable`: then it is all to be done again."""
        for at in range(0, len(connections), CHUNK):
            here = [c for c in connections[at : at + CHUNK] if c.member and self._is_here(c)]
            answers = await asyncio.gather(*map(self._enter, here), return_exceptions=True)
            failed = next((answer for answer in answers if isinstance(answer, BaseException)), None)
            if failed is not None:
                raise failed
            entered = [c for c in here if self._is_here(c)]
            for connection in entered:
                connection.vouched_at = connection.heard_at
                self._outbox.tell(Connected(UserId(connection.user), connection.member))
            self._syncs.again(entered, cause)

    def _enter(self, connection: Connection) -> "asyncio.Future[int]":
        draft = connection.member.rpartition("|")[0]
        return self._outbox.enter(connection.user, draft, connection.entered_ms)

    def _is_here(self, connection: Connection) -> bool:
        return self._registry.by_number.get(connection.number) is connection
