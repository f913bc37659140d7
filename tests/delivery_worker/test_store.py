"""The store on both servers: the fence, the plain INSERT, marks that only rise, pages, devices."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from chatcore.delivery import CursorRow, MemberRow, MessageRow, Plan
from chatcore.errors import ConfigurationError, Refusal, StoreUnavailable
from chatcore.ids import conversation_id
from delivery_worker.schema import check_schema, migrate
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.batches import Fenced, MySQLBatchStore, Poisoned, Repeat, Sought, Taken, Wanted
from delivery_worker.store.devices import MAX_DEVICES, DeviceStore
from delivery_worker.store.ownership import MySQLOwnerStore
from delivery_worker.store.reads import Begun, ReadStore
from delivery_worker.store.session import Session

CONVERSATION = conversation_id("alice", "bob")
BODIES = ["hi", "👩‍👩‍👧‍👦 4-byte", "e\u0301 combining", "nul\x00inside", "quote ' back\\slash \" %s", "x" * 16_384]


def message(seq: int, client_id: str, body: str = "hi", sender: str = "alice") -> MessageRow:
    return MessageRow(CONVERSATION, seq, sender, "phone", client_id, 1_000 + seq, body)


def members(last: int, delivered: tuple[int, int] = (0, 0), read: tuple[int, int] = (0, 0)) -> list[MemberRow]:
    return [
        MemberRow("alice", CONVERSATION, "bob", last, 1_000, delivered[0], read[0], delivered[1], read[1]),
        MemberRow("bob", CONVERSATION, "alice", last, 1_000, delivered[1], read[1], delivered[0], read[0]),
    ]


class Owner:
    """A worker's store and its epoch."""

    def __init__(self, settings: MySQLSettings, name: str) -> None:
        self.session = Session(settings)
        self.owners = MySQLOwnerStore(self.session, owner=name)
        self.batches = MySQLBatchStore(self.session, owner=name)
        self.epoch = 0

    async def take_over(self) -> frozenset[int]:
        self.epoch = await self.owners.next_epoch()
        return await self.owners.raise_epoch(self.epoch, [], [0, 1, 2, 3])

    async def commit(self, plan: Plan) -> None:
        fence = await self.batches.begin(self.epoch, [0], [], [], skip_locked=False)
        assert fence.owned == {0}
        await self.batches.commit(plan, fence.now)


@pytest.fixture
async def owner(database: MySQLSettings) -> AsyncIterator[Owner]:
    one = Owner(database, "w1")
    await one.take_over()
    yield one
    one.session.close()


async def test_migrating_twice_changes_nothing(migrator: MySQLSettings) -> None:
    version = await asyncio.to_thread(migrate, migrator)
    await asyncio.to_thread(check_schema, migrator)
    assert version == await asyncio.to_thread(migrate, migrator)


async def test_the_number_of_partitions_is_fixed_by_the_first_migration(migrator: MySQLSettings) -> None:
    await asyncio.to_thread(migrate, migrator.model_copy(update={"partitions": 64}))
    session = Session(migrator)
    assert (await MySQLOwnerStore(session, owner="w").meta()).partitions == 4
    session.close()


async def test_a_worker_refuses_a_schema_that_is_too_old(database: MySQLSettings, migrator: MySQLSettings) -> None:
    session = Session(migrator)
    await session.run("UPDATE alembic_version SET version_num = '0000'")
    session.close()
    with pytest.raises(ConfigurationError, match="run `delivery-worker migrate`"):
        await asyncio.to_thread(check_schema, database)


async def test_bodies_and_ids_come_back_byte_for_byte(owner: Owner, session: Session) -> None:
    rows = [message(seq, f"c{seq}", body) for seq, body in enumerate(BODIES, 1)]
    await owner.commit(Plan(messages=rows, members=members(len(rows))))
    reads = ReadStore(session)
    (await reads.open_pages([Begun("alice", "phone", 0)]))[0]
    assert await reads.messages(CONVERSATION, 0, 100, 100) == rows
    await reads.close()


async def test_ids_are_compared_byte_for_byte(owner: Owner) -> None:
    rows = [message(1, "c1"), message(2, "C1"), message(3, "c1", sender="Alice")]
    await owner.commit(Plan(messages=rows))
    sought = [Sought(CONVERSATION, "alice", "c1"), Sought(CONVERSATION, "ALICE", "c1")]
    await owner.commit(Plan(members=members(3)))
    fence = await owner.batches.begin(owner.epoch, [0], [Wanted(CONVERSATION, "alice")], sought[1:], skip_locked=False)
    assert not fence.conversations[CONVERSATION].known
    await owner.batches.rollback()
    fence = await owner.batches.begin(owner.epoch, [0], [Wanted(CONVERSATION, "alice")], sought, skip_locked=False)
    [known] = fence.conversations[CONVERSATION].known.values()
    assert (known.seq, known.ts, known.replay) == (1, 1_001, True)
    await owner.batches.rollback()


@pytest.mark.parametrize("row", [message(1, "c2"), message(2, "c1")], ids=["number", "client id"])
async def test_a_taken_number_or_id_rolls_everything_back(owner: Owner, session: Session, row: MessageRow) -> None:
    await owner.commit(Plan(messages=[message(1, "c1")]))
    with pytest.raises(Taken):
        await owner.commit(Plan(messages=[message(7, "c7"), row], members=members(7)))
    assert (await session.run("SELECT seq FROM message"))[0] == ((1,),)
    assert (await session.run("SELECT COUNT(*) FROM member"))[0] == ((0,),)


async def test_values_that_mysql_refuses_are_poison(owner: Owner, session: Session) -> None:
    with pytest.raises(Poisoned):
        await owner.commit(Plan(messages=[message(1, "c1"), message(2, "c" * 65)]))
    assert (await session.run("SELECT COUNT(*) FROM message"))[0] == ((0,),)


async def test_a_failure_of_the_server_is_no_poison(owner: Owner, migrator: MySQLSettings) -> None:
    session = Session(migrator)
    await session.run("RENAME TABLE message TO away")
    session.close()
    with pytest.raises(Repeat):
        await owner.commit(Plan(messages=[message(1, "c1")]))


async def test_marks_only_rise_whatever_order_they_are_written_in(owner: Owner, session: Session) -> None:
    await owner.commit(Plan(members=members(5, (3, 4), (1, 2)), cursors=[CursorRow("bob", "desk", CONVERSATION, 4)]))
    await owner.commit(Plan(members=members(4, (2, 5), (0, 1)), cursors=[CursorRow("bob", "desk", CONVERSATION, 2)]))
    opening = (await ReadStore(session).open_pages([Begun("bob", "desk", 0)]))[0]
    [member] = opening.members
    assert (member.last, member.delivered, member.read, member.peer_delivered, member.peer_read) == (5, 5, 2, 3, 1)
    assert member.cursor == 4


async def test_a_stale_owner_is_fenced_and_commits_nothing(owner: Owner, database: MySQLSettings) -> None:
    other = Owner(database, "w2")
    assert await other.take_over() == {0, 1, 2, 3}
    fence = await owner.batches.begin(owner.epoch, [0, 1], [], [], skip_locked=False)
    assert fence.owned == frozenset()
    assert fence.lost == {0, 1}
    await owner.batches.rollback()
    other.session.close()


async def test_the_fence_holds_the_row_until_the_commit(owner: Owner, database: MySQLSettings) -> None:
    await owner.batches.begin(owner.epoch, [0], [], [], skip_locked=False)
    other = Owner(database, "w2")
    other.epoch = await other.owners.next_epoch()
    assert await other.owners.raise_epoch(other.epoch, [], [0, 1]) == {1}
    fence = await other.batches.begin(other.epoch, [0, 1], [], [], skip_locked=True)
    assert fence.owned == {1}
    assert fence.lost == frozenset(), "a locked partition is not lost, it waits"
    await other.batches.rollback()
    with pytest.raises(Repeat):
        await other.batches.begin(other.epoch, [0], [], [], skip_locked=False)
    await owner.batches.rollback()
    other.session.close()


async def test_a_commit_at_once_writes_and_stamps_with_the_servers_clock(owner: Owner, session: Session) -> None:
    await owner.batches.commit_at_once(owner.epoch, [0, 1], Plan(messages=[message(1, "c1")], members=members(1)))
    opening = (await ReadStore(session).open_pages([Begun("bob", "desk", 0)]))[0]
    assert [member.last for member in opening.members] == [1]
    stamps = (await session.run("SELECT MIN(updated_at), MAX(updated_at) FROM member"))[0]
    assert opening.now - 60_000 < stamps[0][0] == stamps[0][1] <= opening.now


async def test_a_commit_at_once_of_a_stale_owner_writes_nothing(
    owner: Owner, database: MySQLSettings, session: Session
) -> None:
    other = Owner(database, "w2")
    other.epoch = await other.owners.next_epoch()
    assert await other.owners.raise_epoch(other.epoch, [], [1]) == {1}
    with pytest.raises(Fenced):
        await owner.batches.commit_at_once(owner.epoch, [0, 1], Plan(messages=[message(1, "c1")]))
    with pytest.raises(Fenced):
        await owner.batches.commit_at_once(owner.epoch + 1, [0], Plan(messages=[message(1, "c1")]))
    with pytest.raises(Fenced):
        await owner.batches.commit_at_once(owner.epoch, [0, 99], Plan(messages=[message(1, "c1")]))
    assert (await session.run("SELECT COUNT(*) FROM message"))[0] == ((0,),)
    await other.batches.commit_at_once(other.epoch, [1], Plan(messages=[message(1, "c1")]))
    other.session.close()


async def test_a_commit_at_once_waits_for_the_fence_of_another(owner: Owner, database: MySQLSettings) -> None:
    other = Owner(database, "w2")
    other.epoch = owner.epoch
    await owner.batches.begin(owner.epoch, [0], [], [], skip_locked=False)
    with pytest.raises(Repeat):
        await other.batches.commit_at_once(owner.epoch, [0], Plan(messages=[message(1, "c1")]))
    await owner.batches.rollback()
    other.session.close()


async def test_a_commit_at_once_tells_what_is_taken_and_what_is_poison(owner: Owner, session: Session) -> None:
    await owner.batches.commit_at_once(owner.epoch, [0], Plan(messages=[message(1, "c1")]))
    with pytest.raises(Taken):
        await owner.batches.commit_at_once(owner.epoch, [0], Plan(messages=[message(1, "c2")]))
    with pytest.raises(Poisoned):
        await owner.batches.commit_at_once(owner.epoch, [0], Plan(messages=[message(2, "c" * 65)]))
    assert (await session.run("SELECT COUNT(*) FROM message"))[0] == ((1,),)


async def test_a_kept_partition_must_still_be_ones_own(owner: Owner, database: MySQLSettings) -> None:
    other = Owner(database, "w2")
    await other.take_over()
    epoch = await owner.owners.next_epoch()
    assert await owner.owners.raise_epoch(epoch, [0, 1, 2, 3], []) == frozenset()
    other.session.close()


async def test_an_owner_that_pauses_in_mid_transaction_loses_its_locks_and_commits_nothing(
    owner: Owner, session: Session
) -> None:
    fence = await owner.batches.begin(owner.epoch, [0], [], [], skip_locked=False)
    free = "SELECT epoch FROM partition_owner WHERE partition_id = 0 FOR UPDATE SKIP LOCKED"
    async with asyncio.timeout(20):
        while not (await session.run(free))[0]:
            await asyncio.sleep(0.2)
    with pytest.raises(StoreUnavailable):
        await owner.batches.commit(Plan(messages=[message(1, "c1")]), fence.now)
    with pytest.raises(StoreUnavailable):
        await owner.batches.commit(Plan(messages=[message(1, "c1")]), fence.now)
    assert (await session.run("SELECT COUNT(*) FROM message"))[0] == ((0,),)


async def test_a_new_device_starts_at_what_others_of_the_user_hold(owner: Owner, session: Session) -> None:
    await owner.commit(Plan(members=members(5, delivered=(5, 3))))
    devices, reads = DeviceStore(session), ReadStore(session)
    assert (await devices.register("bob", "new")).refusal is None
    [member] = (await reads.open_pages([Begun("bob", "new", 0)]))[0].members
    assert member.cursor == 3
    await reads.close()


async def test_a_known_device_starts_at_zero_in_a_conversation_that_began_while_it_was_away(
    owner: Owner, session: Session
) -> None:
    devices, reads = DeviceStore(session), ReadStore(session)
    await devices.register("bob", "old")
    await owner.commit(Plan(members=members(5, delivered=(5, 3))))
    assert (await devices.register("bob", "old")).refusal is None
    [member] = (await reads.open_pages([Begun("bob", "old", 0)]))[0].members
    assert member.cursor == 0
    await reads.close()


async def test_a_device_not_seen_for_90_days_is_new_again(owner: Owner, session: Session) -> None:
    devices, reads = DeviceStore(session), ReadStore(session)
    await devices.register("bob", "old")
    await owner.commit(Plan(members=members(5, (5, 3)), cursors=[CursorRow("bob", "old", CONVERSATION, 1)]))
    await session.run("UPDATE device SET last_seen = last_seen - 91 * 86400000 WHERE device_id = 'old'")
    await devices.register("bob", "old")
    [member] = (await reads.open_pages([Begun("bob", "old", 0)]))[0].members
    assert member.cursor == 3
    await reads.close()


async def test_the_21st_device_is_refused_and_a_forgotten_one_makes_room(owner: Owner, session: Session) -> None:
    devices = DeviceStore(session)
    for number in range(MAX_DEVICES):
        assert (await devices.register("bob", f"d{number}")).refusal is None
    assert (await devices.register("bob", "one-more")).refusal is Refusal.TOO_MANY_DEVICES
    assert (await devices.register("bob", "d0")).refusal is None
    await session.run("UPDATE device SET last_seen = last_seen - 91 * 86400000 WHERE device_id = 'd1'")
    assert (await devices.register("bob", "one-more")).refusal is None


async def test_a_revocation_refuses_a_device_or_the_whole_user_until_it_is_taken_back(session: Session) -> None:
    devices = DeviceStore(session)
    await devices.revoke("bob", "desk")
    assert (await devices.register("bob", "desk")).refusal is Refusal.REVOKED
    assert (await devices.register("bob", "phone")).refusal is None
    await devices.revoke("bob", None)
    assert (await devices.register("bob", "phone")).refusal is Refusal.REVOKED
    await devices.revoke("bob", None, undo=True)
    assert (await devices.register("bob", "phone")).refusal is None
