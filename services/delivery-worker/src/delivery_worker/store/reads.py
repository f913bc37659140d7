"""Owns what syncs, histories and lists read: at the primary, each page in one snapshot (R4c)."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from chatcore.delivery import MessageRow
from chatcore.ids import ClientId, ConversationId, DeviceId, Seq, UserId
from pymysql.err import MySQLError

from delivery_worker.pager import Item, Member
from delivery_worker.store.batches import NOW
from delivery_worker.store.session import Session
from delivery_worker.store.values import binary, text
from delivery_worker.store.wire import Rows

SNAPSHOT: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
MEMBER: Final = (
    "m.conversation_id, m.peer_id, m.last_seq, m.last_ts, m.delivered_seq, m.read_seq,"
    " m.peer_delivered_seq, m.peer_read_seq, m.updated_at, COALESCE(c.seq, 0)"
)
MESSAGE: Final = "conversation_id, seq, sender, device_id, client_id, ts, body"


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """What stands of a device, and of the user as a whole, whose row has an empty device id."""

    last_seen: int
    revoked: bool


class Begun(NamedTuple):
    """Which conversations of a user a page begins with."""

    user: str
    device: str
    since: int = 0
    """Those that changed after this stamp, the latest first; without a meaning where `rest` names them."""
    rest: Sequence[ConversationId] | None = None
    """These, in no order."""


class Range(NamedTuple):
    """Messages of a conversation: `after` < seq ≤ `upto`."""

    conversation: ConversationId
    after: int
    upto: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What a page begins with, all of one snapshot."""

    now: int
    user: DeviceRow | None
    device: DeviceRow | None
    members: list[Member]


class ReadStore:
    """Reads for requests, on one MySQL session, used by one task at a time.

    Every method raises `MySQLError` or `StoreUnavailable`; then ask again. `close` ends a page's snapshot.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def open_pages(self, pages: Sequence[Begun]) -> list[Opening]:
        """Open one snapshot for all of these pages, and read what each begins with.

        In one round trip and two answers, however many they are: a result set costs the driver 100 microseconds.
        """
        devices = " OR ".join(
            f"(user_id = {text(page.user)} AND device_id IN ('', {text(page.device)}))" for page in pages
        )
        members = " UNION ALL ".join(_members_of(number, page) for number, page in enumerate(pages))
        statements = (
            NOW,
            *SNAPSHOT,
            f"SELECT user_id, device_id, last_seen, revoked_at FROM device WHERE {devices}",  # noqa: S608 - quoted
            members,
        )
        results = await self._run("; ".join(statements))
        now = int(results[0][0][0])
        found = {(row[0], row[1]): DeviceRow(row[2], row[3] is not None) for row in results[3]}
        of_page: list[list[Member]] = [[] for _ in pages]
        for number, *fields in results[4]:
            of_page[number].append(Member(*fields))
        return [
            Opening(now, found.get((page.user, "")), found.get((page.user, page.device)), _latest_first(own))
            for page, own in zip(pages, of_page, strict=True)
        ]

    async def messages_in(self, ranges: Sequence[Range]) -> list[list[MessageRow]]:
        """Read all messages of short ranges, ascending, in one round trip within the open snapshot."""
        condition = " OR ".join(
            f"(conversation_id = {binary(one.conversation)} AND seq > {one.after:d} AND seq <= {one.upto:d})"
            for one in ranges
        )
        [rows] = await self._go_on(f"SELECT {MESSAGE} FROM message WHERE {condition}")  # noqa: S608 - quoted
        found: dict[ConversationId, list[MessageRow]] = {}
        for row in sorted(_messages(rows), key=lambda row: row.seq):
            found.setdefault(row.conversation, []).append(row)
        return [
            [row for row in found.get(conversation, ()) if after < row.seq <= upto]
            for conversation, after, upto in ranges
        ]

    async def messages(self, conversation: ConversationId, after: int, upto: int, limit: int) -> list[MessageRow]:
        """Read messages with `after` < seq ≤ `upto`, ascending, within the open snapshot."""
        rows = await self._go_on(_range(conversation, f"seq > {after:d} AND seq <= {upto:d}", "ASC", limit))
        return _messages(rows[0])

    async def close(self) -> None:
        """End the snapshot; never raises."""
        await self._session.rollback()

    async def history(
        self, user: str, conversation: ConversationId, before: int | None, after: int | None, limit: int
    ) -> tuple[Member | None, list[MessageRow]]:
        """Read the user's side of a conversation, and up to `limit` messages, the nearest to the bound first."""
        if after is not None:
            condition, order = f"seq > {after:d}", "ASC"
        else:
            condition, order = f"seq < {before:d}" if before is not None else "seq > 0", "DESC"
        query = _members(user, "", f"m.conversation_id = {binary(conversation)}")
        results = await self._run(
            "; ".join((*SNAPSHOT, query, _range(conversation, condition, order, limit), "COMMIT"))
        )
        members = [Member(*row) for row in results[2]]
        return (members[0] if members else None), _messages(results[3])

    async def conversations(self, user: str, device: str, cursor: tuple[int, bytes] | None, limit: int) -> list[Item]:
        """Read up to `limit` conversations of the user, the latest first, behind `cursor`."""
        behind = ""
        if cursor is not None:
            last_ts, conversation = cursor
            same = f"m.last_ts = {last_ts:d} AND m.conversation_id < {binary(conversation)}"
            behind = f" AND (m.last_ts < {last_ts:d} OR {same})"
        condition = f"m.last_seq > 0{behind} ORDER BY m.last_ts DESC, m.conversation_id DESC LIMIT {limit:d}"
        results = await self._run("; ".join((*SNAPSHOT, _members(user, device, condition))))
        members = [Member(*row) for row in results[2]]
        try:
            return await self._items(members) if members else []
        finally:
            await self.close()

    async def _items(self, members: Sequence[Member]) -> list[Item]:
        unread = " OR ".join(
            f"(conversation_id = {binary(m.conversation)} AND seq > {m.read:d} AND sender = {text(m.peer)})"
            for m in members
        )
        last = " OR ".join(f"(conversation_id = {binary(m.conversation)} AND seq = {m.last:d})" for m in members)
        counted, latest = await self._go_on(
            f"SELECT conversation_id, COUNT(*) FROM message WHERE {unread} GROUP BY conversation_id;"  # noqa: S608 - quoted
            f" SELECT {MESSAGE} FROM message WHERE {last}"
        )
        counts = {row[0]: row[1] for row in counted}
        found = {row.conversation: row for row in _messages(latest)}
        return [Item(m, counts.get(m.conversation, 0), found.get(m.conversation)) for m in members]

    async def _run(self, sql: str) -> list[Rows]:
        return await self._checked(self._session.run(sql))

    async def _go_on(self, sql: str) -> list[Rows]:
        return await self._checked(self._session.go_on(sql))

    async def _checked(self, work: Awaitable[list[Rows]]) -> list[Rows]:
        try:
            return await work
        except MySQLError:
            await self._session.rollback()
            raise


def _latest_first(members: list[Member]) -> list[Member]:
    return sorted(members, key=lambda member: (member.last_ts, member.conversation), reverse=True)


def _members_of(number: int, page: Begun) -> str:
    if page.rest is None:
        condition = f"m.updated_at > {page.since:d}"
    else:
        condition = f"m.conversation_id IN ({','.join(binary(conversation) for conversation in page.rest)})"
    return _members(page.user, page.device, condition, fields=f"{number:d}, {MEMBER}")


def _members(user: str, device: str, condition: str, *, fields: str = MEMBER) -> str:
    return (
        f"SELECT {fields} FROM member m LEFT JOIN device_cursor c ON c.user_id = m.user_id"  # noqa: S608 - quoted
        f" AND c.device_id = {text(device)} AND c.conversation_id = m.conversation_id"
        f" WHERE m.user_id = {text(user)} AND {condition}"
    )


def _range(conversation: ConversationId, condition: str, order: str, limit: int) -> str:
    return (
        f"SELECT {MESSAGE} FROM message WHERE conversation_id = {binary(conversation)} AND {condition}"  # noqa: S608 - quoted
        f" ORDER BY seq {order} LIMIT {limit:d}"
    )


def _messages(rows: Rows) -> list[MessageRow]:
    return [
        MessageRow(ConversationId(c), Seq(seq), UserId(sender), DeviceId(device), ClientId(client_id), ts, body)
        for c, seq, sender, device, client_id, ts, body in rows
    ]
