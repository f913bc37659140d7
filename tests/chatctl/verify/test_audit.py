"""The audit of the fence: what it makes of its notes, and that nobody writes past it on a real stack."""

import aiomysql
from chatcore.ids import conversation_id, partition_of
from chatctl.stack.mysql_server import worker_account
from chatctl.verify.audit import Taken, Written, stale_writes
from chatctl.verify.ledger import Ledger

from tests.conftest import MakeStack
from tests.harness.owners import settled_owners

MARKS = (
    "INSERT INTO member VALUES (%s, %s, %s, %s, 0, 0, 0, 0, 0, 0)"
    " ON DUPLICATE KEY UPDATE last_seq = GREATEST(last_seq, VALUES(last_seq))"
)
"""As a worker writes them: the first time added, then written over."""


def test_an_owner_writes_and_its_successor_after_it() -> None:
    notes = [
        Written("worker-1", 0, "message 1"),
        Taken("worker-2", 0),
        Written("worker-2", 0, "the marks of alice"),
        Written("worker-1", 1, "message 1"),
    ]
    assert list(stale_writes({0: "worker-1", 1: "worker-1"}, notes)) == []


def test_a_write_behind_the_fence_is_named() -> None:
    notes = [Taken("worker-2", 0), Written("worker-1", 0, "message 7"), Written("worker-1", 0, "the marks of bob")]
    assert list(stale_writes({0: "worker-1"}, notes)) == [
        "worker-1 wrote message 7 of partition 0, whose owner was worker-2",
        "worker-1 wrote the marks of bob of partition 0, whose owner was worker-2",
    ]


async def test_on_a_real_stack_a_row_of_another_worker_is_named_and_a_rolled_back_one_is_not(
    make_stack: MakeStack,
) -> None:
    stack = await make_stack(gateways=1, workers=2)
    owned = await settled_owners(stack, workers=2)
    ledger = Ledger(stack)
    await ledger.prepare()
    conversation = conversation_id("alice", "bob")
    partition = partition_of(conversation, len(owned))
    number = int(owned[partition][1].partition(".")[0].removeprefix("worker-"))
    address = stack.file.mysql
    for writer, seq, ends in ((number, 1, "COMMIT"), (3 - number, 2, "ROLLBACK"), (3 - number, 3, "COMMIT")):
        connection = await aiomysql.connect(
            host=address.host,
            port=address.port,
            user=worker_account(writer),
            password=address.password,
            db=address.database,
        )
        cursor = await connection.cursor()
        row = (conversation, seq, "alice", "phone", f"id{seq}", 0, "hi")
        await cursor.execute("INSERT INTO message VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
        await cursor.execute(MARKS, ("alice", conversation, "bob", seq))
        await cursor.execute(ends)
        connection.close()
    assert await ledger.stale() == [
        f"worker-{3 - number} wrote {what} of partition {partition}, whose owner was worker-{number}"
        for what in ("message 3", "the marks of alice")
    ]
