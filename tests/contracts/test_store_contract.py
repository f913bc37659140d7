"""The worker's stores, statement by statement, find on the twin what they find on the server."""

import pytest
from chatcore.delivery import CursorRow, MemberRow, MessageRow, Plan
from chatcore.errors import Refusal
from chatcore.ids import conversation_id
from delivery_worker.store.batches import Fenced, MySQLBatchStore, Sought, Taken, Wanted
from delivery_worker.store.devices import MAX_DEVICES, DeviceStore
from delivery_worker.store.ownership import Meta, MySQLOwnerStore
from delivery_worker.store.reads import Begun, ReadStore

from tests.contracts.mysql_worlds import PARTITIONS, MySQLWorld

AB, AC = conversation_id("alice", "bob"), conversation_id("alice", "carol")


def message(seq: int, client_id: str, *, conversation: bytes = AB, sender: str = "alice") -> MessageRow:
    return MessageRow(conversation, seq, sender, "phone", client_id, 1_000 + seq, f"body {seq} 'of' {client_id}")


def members(
    last: int, delivered: tuple[int, int] = (0, 0), *, conversation: bytes = AB, peer: str = "bob", last_ts: int = 1_000
) -> list[MemberRow]:
    low, high = delivered
    return [
        MemberRow("alice", conversation, peer, last, last_ts, low, 0, high, 0),
        MemberRow(peer, conversation, "alice", last, last_ts, high, 0, low, 0),
    ]


class Owner:
    """A worker's way to its partitions."""

    def __init__(self, mysql: MySQLWorld, name: str) -> None:
        session = mysql.session()
        self.owners, self.batches = MySQLOwnerStore(session, owner=name), MySQLBatchStore(session, owner=name)
        self.epoch = 0

    async def take_over(self) -> frozenset[int]:
        self.epoch = await self.owners.next_epoch()
        return await self.owners.raise_epoch(self.epoch, [], range(PARTITIONS))

    async def commit(self, plan: Plan) -> int:
        fence = await self.batches.begin(self.epoch, [0], [], [], skip_locked=False)
        await self.batches.commit(plan, fence.now)
        return fence.now


@pytest.fixture
async def owner(mysql: MySQLWorld) -> Owner:
    one = Owner(mysql, "w1")
    assert await one.take_over() == frozenset(range(PARTITIONS))
    return one


async def test_the_number_of_partitions_and_the_epoch_are_there(owner: Owner) -> None:
    meta = await owner.owners.meta()
    assert isinstance(meta, Meta)
    assert meta.partitions == PARTITIONS
    assert meta.database_epoch
    await owner.owners.ping()


async def test_a_taken_over_partition_is_lost_and_a_locked_one_waits(owner: Owner, mysql: MySQLWorld) -> None:
    other = Owner(mysql, "w2")
    await owner.batches.begin(owner.epoch, [0], [], [], skip_locked=False)
    assert await other.take_over() == {1, 2, 3}
    fence = await other.batches.begin(other.epoch, [0, 1], [], [], skip_locked=True)
    assert (set(fence.owned), set(fence.lost)) == ({1}, set())
    await other.batches.rollback()
    await owner.batches.rollback()
    fence = await owner.batches.begin(owner.epoch, [0, 1], [], [], skip_locked=False)
    assert (set(fence.owned), set(fence.lost)) == ({0}, {1})
    await owner.batches.rollback()


async def test_a_commit_at_once_is_fenced_like_any_other(owner: Owner, mysql: MySQLWorld) -> None:
    await owner.batches.commit_at_once(owner.epoch, [0, 1], Plan([message(1, "c1")], members(1)))
    other = Owner(mysql, "w2")
    await other.take_over()
    with pytest.raises(Fenced):
        await owner.batches.commit_at_once(owner.epoch, [0, 1], Plan([message(2, "c2")], members(2)))
    fence = await other.batches.begin(other.epoch, [0], [Wanted(AB, "alice")], [], skip_locked=False)
    await other.batches.rollback()
    assert fence.conversations[AB].last == 1


async def test_a_batch_finds_states_and_stored_ids_after_its_fence(owner: Owner) -> None:
    await owner.commit(Plan(messages=[message(1, "c1"), message(2, "c2", sender="bob")], members=members(2, (2, 1))))
    wanted = [Wanted(AB, "alice"), Wanted(AC, "alice")]
    sought = [Sought(AB, "bob", "c2"), Sought(AB, "alice", "none")]
    fence = await owner.batches.begin(owner.epoch, [0], wanted, sought, skip_locked=False)
    [(conversation, state)] = fence.conversations.items()
    assert (conversation, state.last, state.delivered, state.users) == (AB, 2, (2, 1), ("alice", "bob"))
    assert {key: known.seq for key, known in state.known.items()} == {(1, "c2"): 2}
    await owner.batches.rollback()


async def test_a_taken_number_rolls_the_whole_batch_back(owner: Owner, mysql: MySQLWorld) -> None:
    await owner.commit(Plan(messages=[message(1, "c1")]))
    with pytest.raises(Taken):
        await owner.commit(Plan(messages=[message(2, "c2"), message(1, "c9")], members=members(2)))
    reads = ReadStore(mysql.session())
    assert (await reads.open_pages([Begun("alice", "phone", 0)]))[0].members == []
    assert [row.seq for row in await reads.messages(AB, 0, 9, 9)] == [1]
    await reads.close()


async def test_a_sync_reads_changed_conversations_with_their_cursors_and_messages(
    owner: Owner, mysql: MySQLWorld
) -> None:
    cursors = [CursorRow("alice", "phone", AB, 2)]
    stamp = await owner.commit(
        Plan(messages=[message(seq, f"c{seq}") for seq in (1, 2, 3)], members=members(3, (2, 1)), cursors=cursors)
    )
    later = members(1, conversation=AC, peer="carol", last_ts=2_000)
    await owner.commit(Plan(messages=[message(1, "x", conversation=AC)], members=later))
    reads = ReadStore(mysql.session())
    opening = (await reads.open_pages([Begun("alice", "phone", 0)]))[0]
    assert [(m.peer, m.last, m.delivered, m.peer_delivered, m.cursor) for m in opening.members] == [
        ("carol", 1, 0, 0, 0),
        ("bob", 3, 2, 1, 2),
    ]
    assert (opening.user, opening.device) == (None, None)
    assert opening.now >= stamp
    assert [row.seq for row in await reads.messages(AB, 1, 3, 5)] == [2, 3]
    assert [row.seq for row in await reads.messages(AB, 0, 2, 1)] == [1]
    await reads.close()
    assert (await reads.open_pages([Begun("alice", "phone", opening.now + 60_000)]))[0].members == []
    await reads.close()
    resumed = (await reads.open_pages([Begun("alice", "desk", rest=[AB])]))[0]
    assert [(m.peer, m.cursor) for m in resumed.members] == [("bob", 0)]
    await reads.close()


async def test_history_pages_both_ways(owner: Owner, mysql: MySQLWorld) -> None:
    await owner.commit(Plan(messages=[message(seq, f"c{seq}") for seq in range(1, 6)], members=members(5)))
    reads = ReadStore(mysql.session())
    pages = {
        (before, after): [row.seq for row in (await reads.history("alice", AB, before, after, 2))[1]]
        for before, after in ((None, None), (4, None), (None, 3), (None, 0))
    }
    assert pages == {(None, None): [5, 4], (4, None): [3, 2], (None, 3): [4, 5], (None, 0): [1, 2]}
    assert await reads.history("alice", AC, None, None, 2) == (None, [])


async def test_conversations_are_listed_with_what_is_unread(owner: Owner, mysql: MySQLWorld) -> None:
    await owner.commit(Plan(messages=[message(seq, f"c{seq}", sender="bob") for seq in (1, 2)], members=members(2)))
    later = members(1, conversation=AC, peer="carol", last_ts=2_000)
    await owner.commit(Plan(messages=[message(1, "x", conversation=AC)], members=later))
    reads = ReadStore(mysql.session())
    first, second = await reads.conversations("alice", "phone", None, 5)
    assert [(i.member.peer, i.unread, i.last_message and i.last_message.client_id) for i in (first, second)] == [
        ("carol", 0, "x"),
        ("bob", 2, "c2"),
    ]
    behind = await reads.conversations("alice", "phone", (first.member.last_ts, first.member.conversation), 5)
    assert [item.member.peer for item in behind] == ["bob"]
    assert await reads.conversations("nobody", "phone", None, 5) == []


async def test_devices_begin_where_others_are_are_counted_and_are_revoked(owner: Owner, mysql: MySQLWorld) -> None:
    await owner.commit(Plan(members=members(5, (5, 3))))
    session = mysql.session()
    devices, reads = DeviceStore(session), ReadStore(session)
    for number in range(MAX_DEVICES):
        assert (await devices.register("bob", f"d{number}")).refusal is None
    assert (await devices.register("bob", "one-more")).refusal is Refusal.TOO_MANY_DEVICES
    assert (await devices.register("bob", "d0")).refusal is None
    opening = (await reads.open_pages([Begun("bob", "d0", 0)]))[0]
    assert [member.cursor for member in opening.members] == [3]
    assert opening.device is not None
    assert not opening.device.revoked
    await reads.close()
    await devices.revoke("bob", "d0")
    assert (await devices.register("bob", "d0")).refusal is Refusal.REVOKED
    await devices.revoke("bob", None)
    assert (await devices.register("bob", "d1")).refusal is Refusal.REVOKED
    await devices.revoke("bob", None, undo=True)
    assert (await devices.register("bob", "d1")).refusal is None
    assert (await devices.register("alice", "phone")).refusal is None
