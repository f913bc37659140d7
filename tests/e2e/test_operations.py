"""What people ask of a running system at night, and what they do to it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from chatcore.ids import conversation_id, partition_of
from chatcore.keys import Keys
from chatctl.faults import clocks
from chatctl.stack.stack_file import StackFile

from tests.harness.cast import Cast
from tests.harness.command import chatctl
from tests.harness.stack import Stack
from tests.harness.system import ExtraService

KEYS = Keys()


def _at(stack: Stack) -> str:
    return f"--dir={stack.folder}"


def environment_of_stores(file: StackFile) -> dict[str, str]:
    """Return the variables with which a command reaches a system that is no local stack."""
    mysql = file.mysql
    return {
        "CHAT_REDIS_URL": f"redis://127.0.0.1:{file.redis.port}/0",
        "CHAT_MYSQL_HOST": mysql.host,
        "CHAT_MYSQL_PORT": str(mysql.port),
        "CHAT_MYSQL_USER": mysql.user,
        "CHAT_MYSQL_PASSWORD": mysql.password,
        "CHAT_MYSQL_DATABASE": mysql.database,
    }


async def test_a_good_system_is_found_without_a_fault(stack: Stack) -> None:
    await stack.wait_ready()
    done = await chatctl("check", "--json", _at(stack))
    assert [finding for finding in done.json() if finding["state"] == "fault"] == []
    assert done.code == 0


@pytest.mark.parametrize(
    ("variable", "bad", "good"),
    [("sync_binlog", "0", "1"), ("innodb_flush_log_at_trx_commit", "2", "1"), ("read_only", "1", "0")],
)
async def test_a_database_that_may_lose_what_it_said_it_has_is_named(
    stack: Stack, variable: str, bad: str, good: str
) -> None:
    async with stack.mysql() as connection, connection.cursor() as cursor:
        await cursor.execute(f"SET GLOBAL {variable} = {bad}")
        try:
            done = await chatctl("check", "--json", _at(stack))
        finally:
            await cursor.execute(f"SET GLOBAL {variable} = {good}")
    assert variable in {finding["subject"] for finding in done.json() if finding["state"] == "fault"}
    assert done.code == 1


async def test_a_redis_that_throws_keys_away_is_named(stack: Stack) -> None:
    redis = stack.redis()
    try:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        done = await chatctl("check", "--json", _at(stack))
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.aclose()
    assert "maxmemory-policy" in {finding["subject"] for finding in done.json() if finding["state"] == "fault"}


@pytest.mark.skipif(clocks.missing() is not None, reason=f"{clocks.missing()}")
async def test_a_gateway_whose_clock_is_off_is_named_with_how_much(stack: Stack, tmp_path: Path) -> None:
    stepping = clocks.Clocks(tmp_path / "clocks")
    extra = await ExtraService.start(
        stack, "gateway-1", log=tmp_path / "extra.log", environment=stepping.environment("extra")
    )
    try:
        await extra.wait_ready()
        async with stepping.stepped("extra", -45), asyncio.timeout(60):
            while "fault" not in (clock := await _finding(stack, "clocks"))["state"]:
                await asyncio.sleep(0.5)
        assert re.match(r"gateway-1-extra\.\w+ -4[45]\.\d s from Redis's: tokens expire", clock["detail"])
    finally:
        await extra.kill()


async def _finding(stack: Stack, subject: str) -> dict[str, str]:
    found: list[dict[str, str]] = (await chatctl("check", "--json", _at(stack))).json()
    return next(finding for finding in found if finding["subject"] == subject)


async def test_every_partition_has_a_living_owner(stack: Stack) -> None:
    await stack.wait_ready()
    owners = (await chatctl("owners", "--json", _at(stack))).json()
    alive = {owner["worker"]: owner["partitions"] for owner in owners if owner["alive"]}
    partitions = (await chatctl("partitions", "--json", _at(stack))).json()
    assert sum(alive.values()) == len(partitions) == 32
    assert all(row["owner"] in alive and row["group_epoch"] == row["epoch"] for row in partitions)


async def test_a_system_at_rest_has_no_backlog_and_the_environment_names_it_as_well(stack: Stack) -> None:
    environment = environment_of_stores(stack.file)
    async with asyncio.timeout(30):
        while (await chatctl("backlog", "--json", environment=environment)).json():
            await asyncio.sleep(0.1)
    streams = (await chatctl("backlog", "--all", "--json", environment=environment)).json()
    assert len(streams) == 34


async def test_an_environment_that_names_half_a_system_is_told_which_half_is_missing() -> None:
    done = await chatctl("backlog", environment={"CHAT_REDIS_URL": "redis://127.0.0.1:1/0"})
    assert done.code == 1
    assert "CHAT_MYSQL_PASSWORD" in done.err


async def test_a_store_that_is_down_is_told_in_a_sentence(stack: Stack) -> None:
    environment = {**environment_of_stores(stack.file), "CHAT_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = await chatctl("owners", environment=environment)
    assert done.code == 1
    assert "did not answer" in done.err
    assert "Traceback" not in done.err


async def test_who_tells_where_a_users_devices_are_connected(cast: Cast, stack: Stack) -> None:
    bob = cast.user("bob")
    phone = await cast.online(bob, "phone")
    await cast.online(bob, "desk", gateway=1)
    rows = {row["device"]: row for row in (await chatctl("who", bob, "--json", _at(stack))).json()}
    assert rows["phone"]["gateway"] != rows["desk"]["gateway"]
    assert all(row["online"] and not row["revoked"] for row in rows.values())

    await phone.close()
    async with asyncio.timeout(15):
        while rows["phone"]["gateway"] is not None:
            rows = {row["device"]: row for row in (await chatctl("who", bob, "--json", _at(stack))).json()}
    assert rows["phone"]["last_seen_ms"] is not None


async def test_a_kicked_device_may_come_back_and_another_one_stays(cast: Cast, stack: Stack) -> None:
    bob = cast.user("bob")
    phone, desk = await cast.online(bob, "phone"), await cast.online(bob, "desk", gateway=1)
    command = chatctl("kick", bob, "--device=phone", "--json", _at(stack))
    done, code = await asyncio.gather(command, phone.expect_closed())
    assert (done.code, code) == (0, 1001)
    assert done.json() == {"user": bob, "device": "phone", "connections": 1}
    assert await desk.settled() == []
    await cast.online(bob, "phone")


@asynccontextmanager
async def _letter(stack: Stack, data: bytes) -> AsyncIterator[str]:
    """Leave a dead letter, and take it away if the test does not."""
    redis = stack.redis()
    fields = {"reason": "a test", "partition": 0, "entry": "5-1", "data": data}
    added = await redis.xadd(KEYS.dead, fields)
    letter = added.decode() if isinstance(added, bytes) else str(added)
    try:
        yield letter
    finally:
        await redis.xdel(KEYS.dead, letter)
        await redis.aclose()


async def test_a_dead_letter_goes_back_and_is_delivered(cast: Cast, stack: Stack) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    recipient = await cast.online(bob)
    data = orjson.dumps(["gateway-1.gone", 1, alice, "phone", bob, "c1", "back again", None])
    async with _letter(stack, data) as letter:
        listed = (await chatctl("dead", "list", "--json", _at(stack))).json()
        assert (listed[0]["id"], listed[0]["kind"], listed[0]["client_id"]) == (letter, "send", "c1")
        shown = (await chatctl("dead", "show", letter, "--json", _at(stack))).json()
        assert "back again" in shown["data"]
        stream = KEYS.inbox(partition_of(conversation_id(alice, bob), 32))
        done = await chatctl("dead", "requeue", letter, "--json", _at(stack))
        assert (done.code, done.json()) == (0, [{"id": letter, "back_in": stream}])
        await recipient.expect("message", peer=alice, id="c1", body="back again")
        assert (await chatctl("dead", "show", letter, _at(stack))).code == 1


async def test_a_dead_letter_that_is_dropped_is_gone(stack: Stack) -> None:
    async with _letter(stack, b"\xff not an entry") as letter:
        assert (await chatctl("dead", "list", "--json", _at(stack))).json()[0]["kind"] == "entry"
        done = await chatctl("dead", "drop", letter, "7-7", "--json", _at(stack))
        assert (done.code, done.json()) == (1, [{"id": letter, "back_in": None}])
        assert "no dead letter 7-7" in done.err
        assert (await chatctl("dead", "drop", letter, _at(stack))).code == 1


async def test_a_new_epoch_is_refused_while_workers_run(stack: Stack) -> None:
    done = await chatctl("epoch", "new", _at(stack))
    assert done.code == 1
    assert "workers are running" in done.err
