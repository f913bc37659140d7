"""Owns the transaction of a batch: the fence, what must be read after it, and the rows of a plan (R1, R8).

Two round trips: `begin` locks the partitions and reads the clock and what is not remembered, `commit` writes everything
and commits. One round trip, `commit_at_once`, when nothing has to be read. Nothing is repeated here: an error leaves
the caller to forget and to come again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from chatcore.delivery import Conversation, Known, Plan, digest_of
from chatcore.errors import ChatError
from chatcore.ids import ConversationId, DeviceId, Seq, UserId
from pymysql.constants import ER
from pymysql.err import DataError, MySQLError

from delivery_worker.store.rows import writes
from delivery_worker.store.session import Session
from delivery_worker.store.values import binary, numbers, text
from delivery_worker.store.wire import Rows

CLOCK: Final = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
"""The clock of a statement's start: read in a statement of its own after the fence (R4c)."""
NOW: Final = f"SELECT {CLOCK}"
FENCED: Final = 1690
"""ER_DATA_OUT_OF_RANGE: what the fence of `commit_at_once` ends with; `pymysql` has no name for it."""


class Repeat(ChatError):
    """The transaction was rolled back, and the same batch may be tried again.

    A deadlock, a lock wait, a server that is read-only or full: failures of a store never count as poison (R5a).
    """


class Taken(ChatError):
    """A number or a client id that the plan took for free was taken (error 1062): read, and plan again (R1a)."""


class Fenced(ChatError):
    """Not every partition of the batch is this owner's, or is free. Nothing was written; `begin` tells which are."""


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

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        """Do all of `begin` and `commit` for a plan that needs nothing read. Raises `Fenced`."""

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
            await self._session.go_on("; ".join([*writes(plan, str(now)), "COMMIT"]))
        except MySQLError as error:
            await self._session.rollback()
            raise _meaning(error) from error

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        """Fence, write and commit, in one packet. The fence is a statement that fails, and so ends the packet.

        Under little load round trips are most of what a message costs, and this saves two of three.
        Raises what `commit` raises, and `Fenced` (rolled back).
        """
        fence = _fence_or_fail(epoch, self._owner, partitions)
        try:
            await self._session.run("; ".join(["BEGIN", fence, *writes(plan, CLOCK), "COMMIT"]))
        except MySQLError as error:
            await self._session.rollback()
            if error.args[0] == FENCED:
                raise Fenced(str(error)) from error
            raise _meaning(error) from error

    async def rollback(self) -> None:
        """End the transaction without an effect; never raises."""
        await self._session.rollback()


def _meaning(error: MySQLError) -> ChatError:
    if error.args[0] == ER.DUP_ENTRY:
        return Taken(str(error))
    return (Poisoned if isinstance(error, DataError) else Repeat)(f"MySQL: {error}")


def _fence_or_fail(epoch: int, owner: str, partitions: Sequence[int]) -> str:
    """R1c, as one statement that fails unless every row names this owner and epoch.

    EXP leaves the range of a DOUBLE at 710: an error on MySQL and MariaDB alike, and one that no statement ignores.
    """
    return (
        f"SELECT EXP(710 * (COUNT(*) < {len(partitions)})) FROM partition_owner WHERE partition_id"  # noqa: S608 - integers, quoted
        f" IN ({numbers(partitions)}) AND epoch = {epoch:d} AND owner = {text(owner)} FOR UPDATE"
    )


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
