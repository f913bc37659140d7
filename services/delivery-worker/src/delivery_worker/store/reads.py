"""Owns what syncs, histories and lists read: at the primary, each page in one snapshot (R4c)."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final

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

    async def open_sync(self, user: str, device: str, since: int) -> Opening:
        """Open a snapshot, and read every conversation of the user that changed after `since`, the latest first."""
        return await self._open(
            user, device, f"m.updated_at > {since:d} ORDER BY m.last_ts DESC, m.conversation_id DESC"
        )

    async def resume_sync(self, user: str, device: str, conversations: Sequence[ConversationId]) -> Opening:
        """Open a snapshot, and read these conversations of the user, in no order."""
        ids = ",".join(binary(conversation) for conversation in conversations)
        return await self._open(user, device, f"m.conversation_id IN ({ids})")

    async def _open(self, user: str, device: str, condition: str) -> Opening:
        statements = (
            NOW,
            *SNAPSHOT,
            "SELECT device_id, last_seen, revoked_at FROM device"  # noqa: S608 - quoted
            f" WHERE user_id = {text(user)} AND device_id IN ('', {text(device)})",
            _members(user, device, condition),
        )
        results = await self._run("; ".join(statements))
        devices = {row[0]: DeviceRow(row[1], row[2] is not None) for row in results[3]}
        return Opening(int(results[0][0][0]), devices.get(""), devices.get(device), [Member(*r) for r in results[4]])

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


def _members(user: str, device: str, condition: str) -> str:
    return (
        f"SELECT {MEMBER} FROM member m LEFT JOIN device_cursor c ON c.user_id = m.user_id"  # noqa: S608 - quoted
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
