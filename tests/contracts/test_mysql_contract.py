"""What the worker relies on of MySQL holds for the server and for its twin."""

import asyncio

import pytest
from chatcore.errors import StoreUnavailable
from delivery_worker.store.session import Session
from delivery_worker.store.values import binary, text
from pymysql.constants import ER
from pymysql.err import DataError, IntegrityError, MySQLError, OperationalError

from tests.contracts.mysql_worlds import Lost, MySQLWorld, until_waiting

C1, C2 = b"\x01" * 16, b"\xff" * 16
LOCK = "SELECT partition_id, owner FROM partition_owner WHERE partition_id IN ({}) ORDER BY partition_id FOR UPDATE"


def message(seq: int, client_id: str, *, conversation: bytes = C1, body: str = "hi", sender: str = "alice") -> str:
    return (
        "INSERT INTO message (conversation_id, seq, sender, device_id, client_id, ts, body) VALUES"
        f" ({binary(conversation)},{seq},{text(sender)},'phone',{text(client_id)},5,{text(body)})"
    )


async def numbers(session: Session) -> list[int]:
    return [row[0] for row in (await session.run("SELECT seq FROM message WHERE seq > 0 ORDER BY seq ASC"))[0]]


async def take(session: Session, partition: int, owner: str) -> None:
    await session.go_on(
        f"UPDATE partition_owner SET epoch = 1, owner = {text(owner)} WHERE partition_id IN ({partition})"
    )


async def test_what_was_written_is_seen_by_others_once_it_is_committed(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + message(1, "c1"))
    assert await numbers(two) == []
    assert await numbers(one) == [1]
    await one.go_on("COMMIT")
    assert await numbers(two) == [1]


async def test_what_was_rolled_back_never_was(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + message(1, "c1"))
    await one.rollback()
    await one.run(message(1, "c2"))
    assert await numbers(two) == [1]


@pytest.mark.parametrize("again", [message(1, "c2"), message(2, "c1")], ids=["number", "client id"])
async def test_a_key_is_taken_once_and_the_error_keeps_the_commit_from_running(mysql: MySQLWorld, again: str) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run(message(1, "c1"))
    await one.run("BEGIN; " + message(5, "c5"))
    with pytest.raises(IntegrityError) as refused:
        await one.go_on(f"{again}; COMMIT")
    assert refused.value.args[0] == ER.DUP_ENTRY
    assert await numbers(two) == [1]
    assert await numbers(one) == [1, 5], "the transaction is open, and holds what it wrote before"
    await one.rollback()
    assert await numbers(one) == [1]


async def test_a_statement_that_fails_leaves_nothing_of_itself(mysql: MySQLWorld) -> None:
    one = mysql.session()
    await one.run(message(2, "c2"))
    rows = message(1, "c1") + f",({binary(C1)},2,'alice','phone','c9',5,'hi')"
    with pytest.raises(IntegrityError):
        await one.run(rows)
    assert await numbers(one) == [2]


async def test_keys_are_compared_byte_for_byte(mysql: MySQLWorld) -> None:
    one = mysql.session()
    for seq, (client_id, sender) in enumerate((("c", "a"), ("C", "a"), ("c", "A"), ("c", "a.")), 1):
        await one.run(message(seq, client_id, sender=sender))
    found = await one.run("SELECT seq FROM message WHERE sender = 'a' AND client_id = 'c'")
    assert found[0] == ((1,),)


@pytest.mark.parametrize(
    "body", ["x", "👩‍👩‍👧‍👦", "nul\0inside", "quote ' back\\slash \" %s ; x'00' -- ", "a\nb\r\x1a"]
)
async def test_text_comes_back_as_it_was(mysql: MySQLWorld, body: str) -> None:
    one = mysql.session()
    await one.run(message(1, "c1", body=body))
    assert await one.run(f"SELECT body FROM message WHERE conversation_id = {binary(C1)}") == [((body,),)]


async def test_a_value_that_is_too_long_is_refused(mysql: MySQLWorld) -> None:
    with pytest.raises(DataError):
        await mysql.session().run(message(1, "c" * 65))


async def test_an_upsert_raises_what_is_lower_and_leaves_what_is_higher(mysql: MySQLWorld) -> None:
    one = mysql.session()
    for seq in (3, 5, 4):
        await one.run(
            "INSERT INTO device_cursor (user_id, device_id, conversation_id, seq) VALUES"
            f" ('u','d',{binary(C1)},{seq}) ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))"
        )
    assert await one.run("SELECT seq FROM device_cursor WHERE user_id = 'u'") == [((5,),)]


async def test_a_locked_row_is_waited_for_and_read_as_it_stands_then(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0"))
    waiting = asyncio.create_task(two.run("BEGIN; " + LOCK.format("0,1")))
    await until_waiting(waiting)
    await take(one, 0, "one")
    await one.go_on("COMMIT")
    assert (await waiting)[1] == ((0, "one"), (1, ""))
    await two.rollback()


async def test_a_locked_row_is_left_out_by_who_skips_it(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0,2"))
    assert (await two.run("BEGIN; " + LOCK.format("0,1,2") + " SKIP LOCKED"))[1] == ((1, ""),)
    await two.rollback()
    await one.rollback()


async def test_a_plain_read_waits_for_nobody(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0"))
    await take(one, 0, "one")
    found = await two.run("SELECT partition_id, owner FROM partition_owner WHERE partition_id IN (0)")
    assert found == [((0, ""),)]
    await one.rollback()


async def test_a_lock_that_is_held_for_long_is_given_up_and_the_transaction_stays_open(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0"))
    await two.run("BEGIN; " + message(1, "c1"))
    with pytest.raises(OperationalError) as given_up:
        await two.go_on(LOCK.format("0"))
    assert given_up.value.args[0] == ER.LOCK_WAIT_TIMEOUT
    await two.go_on("COMMIT")
    assert await numbers(one) == [1]
    await one.rollback()


async def test_of_two_that_wait_for_each_other_one_is_rolled_back_at_once(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0"))
    await two.run("BEGIN; " + LOCK.format("1"))
    both = [asyncio.create_task(one.go_on(LOCK.format("1"))), asyncio.create_task(two.go_on(LOCK.format("0")))]
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*both, return_exceptions=True)
    [dead] = [answer for answer in answers if isinstance(answer, MySQLError)]
    assert dead.args[0] == ER.LOCK_DEADLOCK
    await one.rollback()
    await two.rollback()


async def test_an_insert_waits_for_one_of_the_same_key_and_is_then_refused_or_goes_through(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    for commits in (False, True):
        await one.run("BEGIN; " + message(1, "c1"))
        waiting = asyncio.create_task(two.run("BEGIN; " + message(1, "c2")))
        await until_waiting(waiting)
        if commits:
            await one.go_on("COMMIT")
            with pytest.raises(IntegrityError):
                await waiting
        else:
            await one.rollback()
            await waiting
        await two.rollback()


async def test_a_snapshot_sees_nothing_that_was_committed_since(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run(message(1, "c1"))
    await two.run(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
    )
    await one.run(message(2, "c2"))
    seen = f"SELECT seq FROM message WHERE conversation_id = {binary(C1)} AND seq > 0 ORDER BY seq DESC LIMIT 5"
    assert await two.go_on(seen) == [((1,),)]
    await two.rollback()
    assert await two.run(seen) == [((2,), (1,))]


async def test_counters_are_drawn_one_after_the_other(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    draw = "UPDATE meta SET value = LAST_INSERT_ID(value + 1) WHERE name = 'owner_epoch'; SELECT LAST_INSERT_ID()"
    drawn = await asyncio.gather(*[session.run(draw) for session in (one, two)])
    assert sorted(results[1][0][0] for results in drawn) == [1, 2]
    assert await one.run("SELECT value FROM meta WHERE name = 'owner_epoch'") == [(("2",),)]


async def test_a_killed_session_loses_what_was_open_and_its_locks(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + message(1, "c1") + "; " + LOCK.format("0"))
    await mysql.kill_sessions()
    with pytest.raises(StoreUnavailable):
        await one.go_on("COMMIT")
    with pytest.raises(StoreUnavailable):
        await one.go_on("COMMIT")
    assert (await two.run("BEGIN; " + LOCK.format("0") + " SKIP LOCKED"))[1] == ((0, ""),)
    assert await numbers(two) == []


@pytest.mark.parametrize(("lost", "stored"), [("request", []), ("answer", [1])])
async def test_a_commit_without_an_answer_holds_or_does_not_is_told_as_open_and_leaves_no_lock(
    mysql: MySQLWorld, lost: Lost, stored: list[int]
) -> None:
    """Nobody on this side can tell the two apart: both are the same error, and nothing goes on after it."""
    two = mysql.session()
    async with mysql.line() as line:
        await line.session.run("BEGIN; " + LOCK.format("0") + "; " + message(1, "c1"))
        with line.losing(lost), pytest.raises(StoreUnavailable):
            await line.session.go_on("COMMIT")
        assert not line.session.connected
        with pytest.raises(StoreUnavailable):
            await line.session.go_on("COMMIT")
    async with asyncio.timeout(10):  # the server hears of the end in its own time
        while not (await two.run("BEGIN; " + LOCK.format("0") + " SKIP LOCKED; ROLLBACK"))[1]:
            await asyncio.sleep(0.05)
    assert await numbers(two) == stored
    await two.run(message(2, "c2"))
    assert await numbers(two) == [*stored, 2]


async def test_a_session_that_is_silent_too_long_is_ended_and_its_locks_are_free(mysql: MySQLWorld) -> None:
    one, two = mysql.session(idle_s=1), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0"))
    async with asyncio.timeout(10):
        while not (await two.run("BEGIN; " + LOCK.format("0") + " SKIP LOCKED; ROLLBACK"))[1]:
            await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailable):
        await one.go_on("COMMIT")


async def test_a_session_whose_statement_is_cancelled_is_over_and_rolled_back(mysql: MySQLWorld) -> None:
    one, two = mysql.session(), mysql.session()
    await one.run("BEGIN; " + LOCK.format("0"))
    await two.run("BEGIN; " + message(1, "c1"))
    waiting = asyncio.create_task(two.go_on(LOCK.format("0")))
    await until_waiting(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not two.connected
    await one.rollback()
    async with asyncio.timeout(10):  # the server ends it when its lock wait is over, and only then
        await one.run(message(1, "c2"))
    assert await one.run("SELECT client_id FROM message WHERE seq = 1") == [(("c2",),)]


async def test_the_clock_of_a_transaction_is_the_servers_and_goes_on(mysql: MySQLWorld) -> None:
    one = mysql.session()
    now = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
    first = (await one.run(f"BEGIN; {now}"))[1][0][0]
    await asyncio.sleep(0.05)
    second = (await one.go_on(now))[0][0][0]
    assert 30 <= second - first < 10_000
    await one.rollback()
