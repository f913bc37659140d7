"""Owns the answer to one request for a page of a sync, and to a handshake that waits for it (R4).

Any worker answers any page: all that a page needs stands in its request. It must never answer a handshake before the
device is registered, and never tell a page of one connection to another.
"""

from collections.abc import Iterable
from typing import Final

from chatcore.errors import Close, Refusal
from chatcore.ids import ConversationId
from chatcore.keys import Member as Connection
from chatcore.logs import get_logger
from chatcore.push import Admission, Kind, Page, close_payload
from chatcore.stream import SyncRequest

from delivery_worker.pager import (
    PAGE_BYTES,
    Member,
    PageBuilder,
    Position,
    decode_token,
    encode_token,
    token_of,
)
from delivery_worker.router import Publications
from delivery_worker.store.devices import FORGET_MS, SEEN_MS, DeviceStore
from delivery_worker.store.reads import Opening, ReadStore

log = get_logger(__name__)

CHUNK: Final = 128
"""Messages in the first read of a page: about a page of short ones."""
SMALLEST_BYTES: Final = 150
"""Of a message in a page: fields and quotes. A page holds no more than its size divided by it."""


class Syncer:
    """Answers sync requests, on one MySQL session, one at a time."""

    def __init__(self, reads: ReadStore, devices: DeviceStore, *, database_epoch: str) -> None:
        self._reads = reads
        self._devices = devices
        self._epoch = database_epoch

    async def answer(self, request: SyncRequest, publications: Publications, routes: Iterable[Connection]) -> None:
        """Add the answer to `publications`: nothing, if it raises (`MySQLError`, `StoreUnavailable`).

        `routes` are the user's connections, looked up after the request was made: the older ones of its device end.
        """
        position = _position(request)
        try:
            opening = await self._open(request, position)
            refusal = _refusal(opening)
            page = None if refusal else await self._page(request, opening, position)
        finally:
            await self._reads.close()
        if refusal is None and request.admit and _unregistered(opening):
            refusal = (await self._devices.register(request.user, request.device)).refusal
            if refusal is None:
                # Its cursors stand only now.
                await self.answer(request, publications, routes)
                return
        if request.admit or refusal is not None:
            admission = Admission(request.number, refusal).encode()
            publications.add(request.gateway, Kind.ADMISSION, request.connection, admission)
        if page is not None and refusal is None:
            publications.add(request.gateway, Kind.PAGE, request.connection, page.encode())
            _replace_older(request, publications, routes)

    async def _open(self, request: SyncRequest, position: Position | None) -> Opening:
        if position is not None:
            return await self._reads.resume_sync(request.user, request.device, position.rest)
        since = decode_token(request.since, self._epoch, request.user, request.device)
        return await self._reads.open_sync(request.user, request.device, since)

    async def _page(self, request: SyncRequest, opening: Opening, position: Position | None) -> Page:
        members = {member.conversation: member for member in opening.members}
        if position is None:
            position = Position(token_of(opening.now, opening.members), -1, tuple(members))
        builder = PageBuilder()
        rest = await self._fill(builder, members, position)
        if rest is not None:
            return Page(request.number, rest.encode(), "", builder.frame(token=None))
        token = encode_token(self._epoch, position.token_ms, request.user, request.device)
        return Page(request.number, "", token, builder.frame(token=token))

    async def _fill(
        self, builder: PageBuilder, members: dict[ConversationId, Member], position: Position
    ) -> Position | None:
        """Fill a page; gives the position of the next one, None when this is the last."""
        seq = position.seq
        for index, conversation in enumerate(position.rest):
            member = members.get(conversation)
            rest = position.rest[index:]
            if member is not None:
                if seq < 0:
                    if not builder.name(member):
                        return Position(position.token_ms, -1, rest)
                    seq = member.cursor
                seq = await self._add_messages(builder, member, seq)
                if seq < member.last:
                    return Position(position.token_ms, seq, rest)
            seq = -1
        return None

    async def _add_messages(self, builder: PageBuilder, member: Member, seq: int) -> int:
        """Add the messages above `seq` until the page is full; gives the last one that it holds."""
        chunk = CHUNK
        while seq < member.last:
            rows = await self._reads.messages(member.conversation, seq, member.last, chunk)
            if not rows:
                return member.last
            before = builder.room
            for row in rows:
                if not builder.add(row, member.peer):
                    return seq
                seq = row.seq
            average = max(SMALLEST_BYTES, (before - builder.room) // len(rows))
            chunk = max(1, min(PAGE_BYTES // SMALLEST_BYTES, builder.room // average + 1))
        return seq


def _position(request: SyncRequest) -> Position | None:
    """Read where the page before ended; what another release wrote and this one cannot read begins the sync anew."""
    try:
        return Position.decode(request.position) if request.position else None
    except ValueError:
        log.warning("position_unreadable", gateway=request.gateway)
        return None


def _refusal(opening: Opening) -> Refusal | None:
    revoked = any(row is not None and row.revoked for row in (opening.user, opening.device))
    return Refusal.REVOKED if revoked else None


def _unregistered(opening: Opening) -> bool:
    """Whether the device is new, forgotten, or was last seen so long ago that the row should say so again."""
    device = opening.device
    return device is None or device.last_seen <= opening.now - min(SEEN_MS, FORGET_MS)


def _replace_older(request: SyncRequest, publications: Publications, routes: Iterable[Connection]) -> None:
    """The newest connection of a device wins; every sync looks, so that a lost word is said again."""
    same = [route for route in routes if route.device == request.device]
    if not same:
        return
    newest = max(same, key=lambda route: (route.entered_ms, route.gateway, route.connection))
    for route in same:
        if route != newest:
            payload = close_payload(Close.REPLACED, "replaced by a newer connection of this device")
            publications.add(route.gateway, Kind.CLOSE, route.connection, payload)
