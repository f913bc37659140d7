"""Planted in what a sync says of itself: a token that is taken after the read."""

import asyncio
from typing import Final

from chatcore.push import Page
from chatcore.stream import SyncRequest
from delivery_worker.app import WorkerApp
from delivery_worker.pager import Position, encode_token
from delivery_worker.store.batches import NOW
from delivery_worker.store.devices import DeviceStore
from delivery_worker.store.ownership import Meta
from delivery_worker.store.reads import Opening, ReadStore
from delivery_worker.store.session import Session
from delivery_worker.syncs import Ahead, Syncer

SLOW_S: Final = 2.0
"""Seconds from the read to the token: a busy database's."""


class _LateToken(Syncer):
    """Takes the time for the token when the page is read, and none off for what is under way."""

    session: Session

    async def _page(self, request: SyncRequest, opening: Opening, position: Position | None, ahead: Ahead) -> Page:
        page = await super()._page(request, opening, position, ahead)
        if not page.token:
            return page
        await asyncio.sleep(SLOW_S)
        now = int((await self.session.go_on(NOW))[0][0][0])
        token = encode_token(self._epoch, now, request.user, request.device)
        return Page(page.number, "", token, page.frame.replace(page.token.encode(), token.encode()))


class TokenAfterRead(WorkerApp):
    """Breaks R4c: a token is below everything that its sync may not have seen."""

    def make_syncer(self, reads: ReadStore, session: Session, meta: Meta) -> Syncer:
        """Make one with late tokens."""
        syncer = _LateToken(reads, DeviceStore(session), database_epoch=meta.database_epoch)
        syncer.session = session
        return syncer
