"""Planted in what a worker commits and when: acknowledged, settled, remembered or routed before the COMMIT."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from chatcore.delivery import Memory, Plan
from chatcore.ids import ConversationId
from chatcore.keys import Member
from delivery_worker.app import WorkerApp
from delivery_worker.batch import Item
from delivery_worker.committer import Committer, Outcome
from delivery_worker.inbox import RedisInbox, StreamEntry
from delivery_worker.router import RedisRouter
from delivery_worker.settings import WorkerSettings
from delivery_worker.store.batches import MySQLBatchStore

SLOW_S: Final = 1.0
"""Seconds from the look at the routes to the commit: a busy database's, and what everybody who was cut off takes to be
back. A worker that does not beat for 4 s is dead to the others."""


class _TellsFirst(MySQLBatchStore):
    """Answers sends before their rows are committed."""

    router: RedisRouter

    async def commit(self, plan: Plan, now: int) -> None:
        await self.router.publish([Plan(answers=plan.answers)])
        await super().commit(plan, now)

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        await self.router.publish([Plan(answers=plan.answers)])
        await super().commit_at_once(epoch, partitions, plan)


class AckBeforeCommit(WorkerApp):
    """Breaks R3: first the answered COMMIT."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        store = _TellsFirst(self.session, owner=self.worker)
        store.router = self.router
        self.batches = store


class _SettlesFirst(RedisInbox):
    """Takes entries out of their streams as soon as it has read them."""

    settling: RedisRouter

    async def read(self, epoch: int, partitions: Sequence[int], count: int) -> list[StreamEntry]:
        entries = await super().read(epoch, partitions, count)
        if entries:
            await self.settling.publish([], settle=entries, epoch=epoch)
        return entries


class SettleBeforeCommit(WorkerApp):
    """Breaks R3: settling comes last."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        inbox = _SettlesFirst(self.connect, keys=self.keys, worker=self.worker)
        inbox.settling = self.router
        self.inbox = inbox


class _Stubborn(Memory):
    """Forgets nothing after a COMMIT that failed."""

    def forget(self, conversations: Iterable[ConversationId]) -> None:
        """Keep all."""


class _RemembersFirst(MySQLBatchStore):
    """Remembers what a plan does before it is done."""

    memory: Memory

    async def commit(self, plan: Plan, now: int) -> None:
        self.memory.install(plan.states.items())
        await super().commit(plan, now)

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        self.memory.install(plan.states.items())
        await super().commit_at_once(epoch, partitions, plan)


class MemoryBeforeCommit(WorkerApp):
    """Breaks R1b: memory changes only after an answered COMMIT."""

    def make_memory(self) -> Memory:
        """Make one that forgets nothing, filled too early."""
        memory = _Stubborn()
        store = _RemembersFirst(self.session, owner=self.worker)
        store.memory = memory
        self.batches = store
        return memory


class _StaleRoutes(RedisRouter):
    """Uses the routes that were looked up for a batch before it was committed."""

    found: dict[str, list[Member]] | None = None

    async def routes(self, users: Iterable[str]) -> dict[str, list[Member]]:
        found = self.found
        if found is None:
            return await super().routes(users)
        return {user: found[user] for user in users if user in found}


class _LooksFirst(Committer):
    """Looks routes up when it takes a batch in hand."""

    router: _StaleRoutes

    async def commit(self, epoch: int, items: Sequence[Item], *, replay: bool) -> Outcome:
        users = {user for item in items for user in (item.event.origin.user, item.event.peer)}
        self.router.found = None
        self.router.found = await self.router.routes(users)
        await asyncio.sleep(SLOW_S)
        return await super().commit(epoch, items, replay=replay)


class RoutesBeforeCommit(WorkerApp):
    """Breaks R4: a worker looks routes up after its commit."""

    def make_router(self, connections: int = 1) -> RedisRouter:
        """Make one that uses what it is given."""
        return _StaleRoutes(
            self.connect,
            keys=self.keys,
            worker=self.worker,
            dead_letters=self.settings.dead_letters,
            connections=connections + 1,
            clock=self.clock,
        )

    def make_committer(self, memory: Memory) -> Committer:
        """Make one that looks too early."""
        committer = _LooksFirst(self.batches, memory, self.metrics, self.undelivered)
        assert isinstance(self.router, _StaleRoutes)  # noqa: S101 - made above
        committer.router = self.router
        return committer
