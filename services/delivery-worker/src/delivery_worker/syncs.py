"""Owns the answers to requests for a page of a sync, and to handshakes that wait for it (R4).

Any worker answers any page: all that a page needs stands in its request. It must never answer a handshake before the
device is registered, and never tell a page of one connection to another.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from chatcore.delivery import MessageRow
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
from delivery_worker.store.reads import Begun, Opening, Range, ReadStore

log = get_logger(__name__)

CHUNK: Final = 128
"""Messages in the first read of a page: about a page of short ones."""
AHEAD: Final = 16
"""Messages of a page that are read together with those of others: more than most returns miss, and few enough that it
hardly matters when they are long."""
SMALLEST_BYTES: Final = 150
"""Of a message in a page: fields and quotes. A page holds no more than its size divided by it."""


Ahead = Mapping[tuple[ConversationId, int], Sequence[MessageRow]]
"""Messages of a page that were read already, by conversation and the number that they follow."""


class Answer(NamedTuple):
    """What a request comes to: a page, or why there is none."""

    request: SyncRequest
    refusal: Refusal | None
    page: Page | None
    """None for a device that has to be registered first."""


class Syncer:
    """Answers sync requests, on one MySQL session, one batch at a time."""

    def __init__(self, reads: ReadStore, devices: DeviceStore, *, database_epoch: str) -> None:
        self._reads = reads
        self._devices = devices
        self._epoch = database_epoch

    async def answer(
        self, requests: Sequence[SyncRequest], publications: Publications, routes: Mapping[str, Sequence[Connection]]
    ) -> None:
        """Add the answers to `publications`: nothing, if it raises (`MySQLError`, `StoreUnavailable`).

        `routes` are the users' connections, looked up after the requests were made: the older ones of a device end.
        """
        answers = await self._read(requests)
        new = [answer.request for answer in answers if answer.refusal is None and answer.page is None]
        if new:
            answers = [answer for answer in answers if answer.request not in new]
            answers += await self._register(new)
        for answer in answers:
            _add(answer, publications, routes.get(answer.request.user, ()))

    async def _register(self, requests: Sequence[SyncRequest]) -> list[Answer]:
        """Make the devices known, one after the other; their cursors stand only then, so their pages are read anew."""
        refused, known = [], []
        for request in requests:
            refusal = (await self._devices.register(request.user, request.device)).refusal
            if refusal is None:
                known.append(request)
            else:
                refused.append(Answer(request, refusal, None))
        return [*refused, *(await self._read(known, registered=True) if known else ())]

    async def _read(self, requests: Sequence[SyncRequest], *, registered: bool = False) -> list[Answer]:
        """Read pages, all in one snapshot: the reads of many are two round trips (a third of a storm's cost)."""
        positions = [_position(request) for request in requests]
        try:
            openings = await self._open(requests, positions)
            aheads = await self._read_ahead(openings, positions)
            answers = []
            for request, opening, position, ahead in zip(requests, openings, positions, aheads, strict=True):
                refusal, page = _refusal(opening), None
                if refusal is None and (registered or not request.admit or not _unregistered(opening)):
                    page = await self._page(request, opening, position, ahead)
                answers.append(Answer(request, refusal, page))
            return answers
        finally:
            await self._reads.close()

    async def _open(self, requests: Sequence[SyncRequest], positions: Sequence[Position | None]) -> list[Opening]:
        return await self._reads.open_pages(
            [
                Begun(request.user, request.device, rest=position.rest)
                if position is not None
                else Begun(
                    request.user,
                    request.device,
                    since=decode_token(request.since, self._epoch, request.user, request.device),
                )
                for request, position in zip(requests, positions, strict=True)
            ]
        )

    async def _read_ahead(self, openings: Sequence[Opening], positions: Sequence[Position | None]) -> list[Ahead]:
        """Read the first messages of all pages at once; what a page holds beyond them it reads by itself."""
        ranges = [_first(opening, position) for opening, position in zip(openings, positions, strict=True)]
        wanted = [one for of_page in ranges for one in of_page]
        rows = iter(await self._reads.messages_in(wanted) if wanted else ())
        return [{(one.conversation, one.after): next(rows) for one in of_page} for of_page in ranges]

    async def _page(self, request: SyncRequest, opening: Opening, position: Position | None, ahead: Ahead) -> Page:
        members = {member.conversation: member for member in opening.members}
        if position is None:
            position = Position(token_of(opening.now, opening.members), -1, tuple(members))
        builder = PageBuilder()
        rest = await self._fill(builder, members, position, ahead)
        if rest is not None:
            return Page(request.number, rest.encode(), "", builder.frame(token=None))
        token = encode_token(self._epoch, position.token_ms, request.user, request.device)
        return Page(request.number, "", token, builder.frame(token=token))

    async def _fill(
        self, builder: PageBuilder, members: dict[ConversationId, Member], position: Position, ahead: Ahead
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
                seq = await self._add_messages(builder, member, seq, ahead)
                if seq < member.last:
                    return Position(position.token_ms, seq, rest)
            seq = -1
        return None

    async def _add_messages(self, builder: PageBuilder, member: Member, seq: int, ahead: Ahead) -> int:
        """Add the messages above `seq` until the page is full; gives the last one that it holds."""
        chunk = CHUNK
        while seq < member.last:
            rows = ahead.get((member.conversation, seq)) or await self._reads.messages(
                member.conversation, seq, member.last, chunk
            )
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


def _first(opening: Opening, position: Position | None) -> list[Range]:
    """Name the messages that a page begins with, in its order, as few as are read for nothing if they are long."""
    room, ranges = AHEAD, []
    members = {member.conversation: member for member in opening.members}
    seq = position.seq if position is not None else -1
    for conversation in position.rest if position is not None else members:
        member = members.get(conversation)
        after = seq if seq >= 0 else (member.cursor if member is not None else 0)
        if member is not None and after < member.last:
            upto = min(member.last, after + room)
            ranges.append(Range(conversation, after, upto))
            room -= upto - after
        if not room:
            break
        seq = -1
    return ranges


def _refusal(opening: Opening) -> Refusal | None:
    revoked = any(row is not None and row.revoked for row in (opening.user, opening.device))
    return Refusal.REVOKED if revoked else None


def _unregistered(opening: Opening) -> bool:
    """Whether the device is new, forgotten, or was last seen so long ago that the row should say so again."""
    device = opening.device
    return device is None or device.last_seen <= opening.now - min(SEEN_MS, FORGET_MS)


def _add(answer: Answer, publications: Publications, routes: Sequence[Connection]) -> None:
    request, refusal, page = answer
    if request.admit or refusal is not None:
        admission = Admission(request.number, refusal).encode()
        publications.add(request.gateway, Kind.ADMISSION, request.connection, admission)
    if page is not None:
        publications.add(request.gateway, Kind.PAGE, request.connection, page.encode())
        _replace_older(request, publications, routes)


def _replace_older(request: SyncRequest, publications: Publications, routes: Sequence[Connection]) -> None:
    """The newest connection of a device wins; every sync looks, so that a lost word is said again."""
    same = [route for route in routes if route.device == request.device]
    if not same:
        return
    newest = max(same, key=lambda route: (route.entered_ms, route.gateway, route.connection))
    for route in same:
        if route != newest:
            payload = close_payload(Close.REPLACED, "replaced by a newer connection of this device")
            publications.add(route.gateway, Kind.CLOSE, route.connection, payload)
