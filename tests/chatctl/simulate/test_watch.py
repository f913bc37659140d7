"""What is seen at the twins: a worker that writes without being the owner is named."""

from types import SimpleNamespace

from chatcore.ids import conversation_id, partition_of
from chatctl.simulate.twin_mysql.tables import TABLES
from chatctl.simulate.twin_mysql.transactions import Database, Transaction
from chatctl.simulate.watch import Fence
from chatctl.simulate.world import PARTITIONS

CONVERSATION = conversation_id("alice", "bob")
PARTITION = partition_of(CONVERSATION, PARTITIONS)


def take(database: Database, worker: str) -> None:
    transaction = Transaction(database, worker)
    row = {"partition_id": PARTITION, "epoch": 1, "owner": worker}
    transaction.write(TABLES["partition_owner"], (PARTITION,), row)
    transaction.commit()


def write(database: Database, worker: str, seq: int, *, table: str = "message") -> None:
    transaction = Transaction(database, worker)
    transaction.write(TABLES[table], (CONVERSATION, seq), _row(table, seq))
    transaction.commit()


def _row(table: str, seq: int) -> dict[str, object]:
    return dict.fromkeys(TABLES[table].columns, "") | {"conversation_id": CONVERSATION, "seq": seq, "last_seq": seq}


def fenced() -> tuple[Database, Fence]:
    database = Database(lambda: 0)
    return database, Fence(SimpleNamespace(mysql=SimpleNamespace(database=database)))


def test_an_owner_that_writes_is_no_finding() -> None:
    database, fence = fenced()
    take(database, "worker-1#1")
    write(database, "worker-1#1", 1)
    write(database, "worker-1#1", 1, table="member")
    assert fence.stale == []


def test_whoever_writes_after_another_took_over_is_named() -> None:
    database, fence = fenced()
    take(database, "worker-1#1")
    take(database, "worker-2#2")
    write(database, "worker-1#1", 7)
    [said] = fence.stale
    assert said.startswith("worker-1#1 wrote 7 into message")


def test_marks_are_fenced_as_well() -> None:
    database, fence = fenced()
    take(database, "worker-2#2")
    write(database, "worker-1#1", 7, table="member")
    assert len(fence.stale) == 1


def test_a_former_life_of_the_owner_is_another_worker() -> None:
    database, fence = fenced()
    take(database, "worker-1#1")
    take(database, "worker-1#3")
    write(database, "worker-1#1", 1)
    assert len(fence.stale) == 1


def test_what_is_rolled_back_is_nothing() -> None:
    database, fence = fenced()
    take(database, "worker-2#2")
    transaction = Transaction(database, "worker-1#1")
    transaction.write(TABLES["message"], (CONVERSATION, 1), _row("message", 1))
    transaction.end()
    assert fence.stale == []
