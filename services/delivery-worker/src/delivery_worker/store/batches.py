"""Owns the transaction of a batch: the fence, what must be read after it, and the rows of a plan (R1, R8).

Two round trips when every conversation is remembered: `begin` locks the partitions and reads the clock, `commit`
writes everything and commits. Nothing is repeated here: an error leaves the caller to forget and to come again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from chatcore.delivery import Conversation, Known, Plan, digest_of
from chatcore.errors import ChatError
from chatcore.ids import ConversationId, DeviceId, Seq, UserId
from pymysql.constants import ER
from pymysql.err import DataError, MySQLError

from delivery_worker.store.session import Session
from delivery_worker.store.values import binary, numbers, text
from delivery_worker.store.wire import Rows

NOW: Final = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
"""The clock of a statement's start: read in a statement of its own after the fence (R4c)."""


class Repeat(ChatError):
    """The transaction was rolled back, and the same batch may be tried again.

    A deadlock, a lock wait, a server that is read-only or full: failures of a store never count as poison (R5a).
    """


class Taken(ChatError):
    """A number or a client id that the plan took for free was taken (error 1062): read, and plan again (R1a)."""


class Poisoned(ChatError):
    """MySQL refuses the values of a row."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What `begin` found: the transaction is open and holds the locks of `owned`."""

    now: int
    owned: frozenset[int]
    """Partitions whose row names this owner and epoch. The rest was taken over, or is locked by somebody."""
    lost: frozenset[int]
    """Partitions whose row names another."""
    conversations: Mapping[ConversationId, Conversation]
    """The stored state of each conversation that was asked for and has rows."""


class Wanted(NamedTuple):
    """A conversation whose state is not remembered."""

    conversation: ConversationId
    low: UserId


class Sought(NamedTuple):
    """A client id to look for in MySQL."""

    conversation: ConversationId
    sender: UserId
    client_id: str


class BatchStore(Protocol):
    """The worker's way to commit batches."""

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        """Open a transaction, lock the partitions' rows, ascending, and read what the batch needs."""

    async def commit(self, plan: Plan, now: int) -> None:
        """Write a plan's rows and commit."""

    async def rollback(self) -> None:
        """End the transaction without an effect."""


class MySQLBatchStore:
    """`BatchStore` on one MySQL session."""

    def __init__(self, session: Session, *, owner: str) -> None:
        self._session = session
        self._owner = owner

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        """Open the transaction.

        Raises `Repeat` (nothing is open then) and `StoreUnavailable`.
        """
        statements = ["BEGIN", _fence(partitions, skip_locked=skip_locked), NOW]
        if wanted:
            statements.append(_members(wanted))
        if sought:
            statements.append(_ids(sought))
        try:
            results = await self._session.run("; ".join(statements))
        except MySQLError as error:
            await self._session.rollback()
            raise Repeat(f"MySQL: {error}") from error
        found = {row[0]: (row[1], row[2]) for row in results[1]}
        owned = frozenset(p for p, row in found.items() if row == (epoch, self._owner))
        known = _known(results[-1]) if sought else {}
        return Fence(
            now=int(results[2][0][0]),
            owned=owned,
            lost=frozenset(found) - owned,
            conversations=_conversations(results[3], known) if wanted else {},
        )

    async def commit(self, plan: Plan, now: int) -> None:
        """Write and commit, in one packet: an error in a statement keeps the COMMIT behind it from running.

        Raises `Taken`, `Repeat` and `Poisoned` (all rolled back) and `StoreUnavailable` (nobody knows).
        """
        try:
            await self._session.go_on("; ".join([*_writes(plan, now), "COMMIT"]))
        except MySQLError as error:
            await self._session.rollback()
            if error.args[0] == ER.DUP_ENTRY:
                raise Taken(str(error)) from error
            if isinstance(error, DataError):
                raise Poisoned(f"MySQL: {error}") from error
            raise Repeat(f"MySQL: {error}") from error

    async def rollback(self) -> None:
        """End the transaction without an effect; never raises."""
        await self._session.rollback()


def _fence(partitions: Sequence[int], *, skip_locked: bool) -> str:
    """R1c. SKIP LOCKED leaves out what another session holds: a vanished owner's lock is gone in 8 s."""
    return (
        f"SELECT partition_id, epoch, owner FROM partition_owner WHERE partition_id IN ({numbers(partitions)})"  # noqa: S608 - integers
        f" ORDER BY partition_id FOR UPDATE{' SKIP LOCKED' if skip_locked else ''}"
    )


def _members(wanted: Iterable[Wanted]) -> str:
    """Read the lower user's row of each conversation: it says all that both say."""
    keys = " OR ".join(f"(user_id = {text(w.low)} AND conversation_id = {binary(w.conversation)})" for w in wanted)
    return (
        "SELECT conversation_id, user_id, peer_id, last_seq, last_ts,"  # noqa: S608 - quoted
        f" delivered_seq, read_seq, peer_delivered_seq, peer_read_seq FROM member WHERE {keys}"
    )


def _ids(sought: Iterable[Sought]) -> str:
    """Alternatives, not a list of rows: MariaDB makes ranges of the index only out of these."""
    keys = " OR ".join(
        f"(conversation_id = {binary(conversation)} AND sender = {text(sender)} AND client_id = {text(client_id)})"
        for conversation, sender, client_id in sought
    )
    return f"SELECT conversation_id, sender, client_id, seq, ts, body, device_id FROM message WHERE {keys}"  # noqa: S608 - quoted


def _known(rows: Rows) -> dict[ConversationId, dict[tuple[str, str], Known]]:
    known: dict[ConversationId, dict[tuple[str, str], Known]] = {}
    for conversation, sender, client_id, seq, ts, body, device in rows:
        entry = Known(Seq(seq), ts, digest_of(body), DeviceId(device), replay=True)
        known.setdefault(ConversationId(conversation), {})[sender, client_id] = entry
    return known


def _conversations(
    rows: Rows, known: Mapping[ConversationId, Mapping[tuple[str, str], Known]]
) -> dict[ConversationId, Conversation]:
    found = {}
    for conversation, user, peer, last, last_ts, delivered, read, peer_delivered, peer_read in rows:
        ids = known.get(conversation, {})
        found[ConversationId(conversation)] = Conversation(
            users=(user, peer),
            last=last,
            last_ts=last_ts,
            delivered=(delivered, peer_delivered),
            read=(read, peer_read),
            told=(False, False),
            known={((user, peer).index(sender), client_id): entry for (sender, client_id), entry in ids.items()},
            floor=last,
        )
    return found


def _writes(plan: Plan, now: int) -> list[str]:
    statements = []
    if plan.messages:
        statements.append(_insert_messages(plan))
    if plan.members:
        statements.append(_upsert_members(plan, now))
    if plan.cursors:
        statements.append(_upsert_cursors(plan))
    return statements


def _insert_messages(plan: Plan) -> str:
    """R1a: a plain INSERT. An upsert would swallow a collision of numbers, and an acknowledged message be lost."""
    rows = ",".join(
        f"({binary(row.conversation)},{row.seq},{text(row.sender)},{text(row.device)},{text(row.client_id)},"
        f"{row.ts},{text(row.body)})"
        for row in plan.messages
    )
    return f"INSERT INTO message (conversation_id, seq, sender, device_id, client_id, ts, body) VALUES {rows}"  # noqa: S608 - quoted


def _upsert_members(plan: Plan, now: int) -> str:
    """R8: watermarks only rise. Rows are sorted by their key, so that two batches lock in one order."""
    rows = ",".join(
        f"({text(row.user)},{binary(row.conversation)},{text(row.peer)},{row.last},{row.last_ts},{row.delivered},"
        f"{row.read},{row.peer_delivered},{row.peer_read},{now})"
        for row in sorted(plan.members)
    )
    rises = ",".join(
        f"{name} = GREATEST({name}, VALUES({name}))"
        for name in (
            "last_seq",
            "last_ts",
            "delivered_seq",
            "read_seq",
            "peer_delivered_seq",
            "peer_read_seq",
            "updated_at",
        )
    )
    return (
        "INSERT INTO member (user_id, conversation_id, peer_id, last_seq, last_ts, delivered_seq, read_seq,"  # noqa: S608 - quoted
        f" peer_delivered_seq, peer_read_seq, updated_at) VALUES {rows} ON DUPLICATE KEY UPDATE {rises}"
    )


def _upsert_cursors(plan: Plan) -> str:
    rows = ",".join(
        f"({text(row.user)},{text(row.device)},{binary(row.conversation)},{row.seq})" for row in sorted(plan.cursors)
    )
    return (
        f"INSERT INTO device_cursor (user_id, device_id, conversation_id, seq) VALUES {rows}"  # noqa: S608 - quoted
        " ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))"
    )
