"""Planted in what MySQL is asked: no dedupe, a dedupe that expires, and an upsert behind no fence.

Where a bug needs it, `bugs` takes the unique key of client ids out of the schema first: it would hide the bug.
"""

from collections.abc import Awaitable, Sequence
from typing import Final

from chatcore.delivery import Conversation, Memory, Plan
from chatcore.ids import ConversationId
from delivery_worker.app import WorkerApp
from delivery_worker.settings import WorkerSettings
from delivery_worker.store.batches import Fence, MySQLBatchStore, Repeat, Sought, Wanted
from delivery_worker.store.rows import writes
from delivery_worker.store.session import Session
from delivery_worker.store.wire import Rows
from pymysql.err import MySQLError

EXPIRY_MS: Final = 2_000
"""After so long an id is forgotten: shorter than a client's patience, as every expiry is shorter than somebody's."""


class _Forgetful(Memory):
    """Knows no id."""

    def get(self, conversation: ConversationId) -> Conversation | None:
        state = super().get(conversation)
        return None if state is None else state._replace(known={})


class _Incurious(MySQLBatchStore):
    """Looks no id up."""

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        return await super().begin(epoch, partitions, wanted, (), skip_locked=skip_locked)


class NoDedupe(WorkerApp):
    """Breaks G2: the same id never makes two entries."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.batches = _Incurious(self.session, owner=self.worker)

    def make_memory(self) -> Memory:
        """Make one that knows no id."""
        return _Forgetful()


class _ShortOfMemory(Memory):
    """Knows the ids of the last moments."""

    def get(self, conversation: ConversationId) -> Conversation | None:
        state = super().get(conversation)
        if state is None:
            return None
        known = {key: entry for key, entry in state.known.items() if entry.ts > state.last_ts - EXPIRY_MS}
        return state._replace(known=known)


class _ShortOfSight(MySQLBatchStore):
    """Finds the ids of the last moments."""

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        fence = await super().begin(epoch, partitions, wanted, sought, skip_locked=skip_locked)
        recent = {
            conversation: state._replace(
                known={key: entry for key, entry in state.known.items() if entry.ts > fence.now - EXPIRY_MS}
            )
            for conversation, state in fence.conversations.items()
        }
        return Fence(now=fence.now, owned=fence.owned, lost=fence.lost, conversations=recent)


class DedupeWithExpiry(WorkerApp):
    """Breaks G2: however late it is sent again."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.batches = _ShortOfSight(self.session, owner=self.worker)

    def make_memory(self) -> Memory:
        """Make one that forgets ids."""
        return _ShortOfMemory()


class _Unfenced(MySQLBatchStore):
    """Writes whoever owns, and lets a later row replace an earlier one."""

    def __init__(self, session: Session, *, owner: str) -> None:
        super().__init__(session, owner=owner)
        self._plain = session

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        fence = await super().begin(epoch, partitions, wanted, sought, skip_locked=skip_locked)
        everything = frozenset(partitions)
        return Fence(now=fence.now, owned=everything, lost=frozenset(), conversations=fence.conversations)

    async def commit(self, plan: Plan, now: int) -> None:
        await self._checked(self._plain.go_on("; ".join([*_upserts(plan, str(now)), "COMMIT"])))

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        stamp = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
        await self._checked(self._plain.run("; ".join(["BEGIN", *_upserts(plan, stamp), "COMMIT"])))

    async def _checked(self, work: Awaitable[list[Rows]]) -> None:
        try:
            await work
        except MySQLError as error:
            await self.rollback()
            raise Repeat(f"MySQL: {error}") from error


def _upserts(plan: Plan, stamp: str) -> list[str]:
    replace = ", ".join(f"{name} = VALUES({name})" for name in ("sender", "device_id", "client_id", "ts", "body"))
    return [
        f"{statement} ON DUPLICATE KEY UPDATE {replace}" if statement.startswith("INSERT INTO message ") else statement
        for statement in writes(plan, stamp)
    ]


class UnfencedUpsert(WorkerApp):
    """Breaks R1 and R1a: the fence, and the plain INSERT behind it."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.batches = _Unfenced(self.session, owner=self.worker)
