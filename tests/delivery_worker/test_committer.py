"""How a batch is committed where one event is poison and a partition's row is held: no event overtakes another."""

from collections.abc import Sequence

from chatcore.delivery import Memory, Plan
from chatcore.ids import conversation_id
from chatcore.stream import Origin, SendEvent
from delivery_worker.batch import Item
from delivery_worker.committer import Committer
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.store.batches import Fence, Poisoned, Sought, Wanted
from delivery_worker.undelivered import Undelivered
from prometheus_client import CollectorRegistry

AB = conversation_id("alice", "bob")
POISON = "poison"


class HeldStore:
    """A store whose one partition is held by somebody while `held` says so; it refuses the values of poison."""

    def __init__(self, held: list[bool]) -> None:
        self.held = held
        self.committed: list[str] = []

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        owned = frozenset() if self.held and self.held.pop(0) else frozenset(partitions)
        return Fence(now=1, owned=owned, lost=frozenset(), conversations={})

    async def commit(self, plan: Plan, now: int) -> None:
        if any(row.client_id == POISON for row in plan.messages):
            raise Poisoned(POISON)
        self.committed += [row.client_id for row in plan.messages]

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        await self.commit(plan, 1)

    async def rollback(self) -> None:
        pass


def send(client_id: str) -> Item:
    return Item(0, b"1-1", AB, SendEvent(Origin("g", 1, "alice", "phone"), "bob", client_id, "hi"))


def committer(store: HeldStore) -> Committer:
    return Committer(store, Memory(), WorkerMetrics(CollectorRegistry()), Undelivered())


async def test_a_half_does_not_overtake_the_other_whose_partition_was_locked_meanwhile() -> None:
    store = HeldStore(held=[False, True])
    outcome = await committer(store).commit(1, [send("c1"), send("c2"), send(POISON)], replay=False)
    assert store.committed == []
    assert outcome.locked == {0}
    assert not outcome.dead


async def test_poison_is_found_by_halving_and_the_rest_keeps_its_order() -> None:
    store = HeldStore(held=[])
    outcome = await committer(store).commit(1, [send("c1"), send(POISON), send("c2")], replay=False)
    assert store.committed == ["c1", "c2"]
    assert [letter.reason for letter in outcome.dead] == ["Poisoned: poison"]
