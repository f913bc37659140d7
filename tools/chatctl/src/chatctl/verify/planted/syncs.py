"""Planted in what a sync says of itself: a token that is taken after the read.

What it loses takes a lost push as well. Redis is emptied while a device's sync is between its read and its token; what
is committed until the gateway has entered everybody again finds no route, but its sender is told; the token is younger
than it, and so the sync that is to heal the wipe leaves its conversation out, and every later one, until something
else happens in that conversation.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from chatcore.push import Page
from chatcore.stream import SyncRequest
from delivery_worker.app import WorkerApp
from delivery_worker.pager import encode_token
from delivery_worker.settings import WorkerSettings
from delivery_worker.store.batches import NOW
from delivery_worker.store.devices import DeviceStore
from delivery_worker.store.ownership import Meta
from delivery_worker.store.reads import ReadStore
from delivery_worker.store.session import Session
from delivery_worker.syncs import Answer, Syncer

SLOW_S: Final = 3.0
"""Seconds from the read to the token: a busy database's. A gateway waits 5 s for a page."""
AT_ONCE: Final = 16
"""Sessions that answer, so that the slow ones keep nobody else waiting."""


class _LateToken(Syncer):
    """Takes the time for the token when the pages are read, and none off for what is under way."""

    session: Session

    async def _read(self, requests: Sequence[SyncRequest], *, registered: bool = False) -> list[Answer]:
        answers = await super()._read(requests, registered=registered)
        if any(request.since for request in requests):  # nobody else has a token to lose by
            await asyncio.sleep(SLOW_S)
        now = int((await self.session.run(NOW))[0][0][0])
        return [self._late(answer, now) for answer in answers]

    def _late(self, answer: Answer, now: int) -> Answer:
        request, page = answer.request, answer.page
        if page is None or not page.token:
            return answer
        token = encode_token(self._epoch, now, request.user, request.device)
        frame = page.frame.replace(page.token.encode(), token.encode())
        return answer._replace(page=Page(page.number, "", token, frame))


class TokenAfterRead(WorkerApp):
    """Breaks R4c: a token is below everything that its sync may not have seen."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings.model_copy(update={"sync_connections": AT_ONCE}))

    def make_syncer(self, reads: ReadStore, session: Session, meta: Meta) -> Syncer:
        """Make one with late tokens."""
        syncer = _LateToken(reads, DeviceStore(session), database_epoch=meta.database_epoch)
        syncer.session = session
        return syncer
