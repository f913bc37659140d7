"""Every kind of fault bites, and is undone: on one real stack, one kind after the other."""

import asyncio
import time
from itertools import count
from pathlib import Path

import pytest
from chatcore.redis_client import close_redis, make_redis
from chatctl.faults import clocks
from chatctl.faults.kinds import KINDS
from chatctl.faults.scene import Scene
from pymysql.err import MySQLError
from redis.exceptions import ResponseError

from tests.chatctl.faults.looks import (
    as_worker,
    asked,
    clients,
    clock_s,
    connected,
    heard,
    inflicted,
    rows,
    setting,
    state_of,
    until,
    write_as_worker,
)

CONNECTIONS = "SELECT id FROM information_schema.processlist WHERE user LIKE 'chat_worker%'"


@pytest.mark.parametrize("kind", ["kill", "terminate"])
@pytest.mark.parametrize("target", ["gateway-1", "worker-1", "presence-1", "redis", "mysql"])
async def test_a_process_that_is_ended_comes_back_as_another(scene: Scene, kind: str, target: str) -> None:
    before = scene.pid(target)
    async with inflicted(scene, kind, target) as detail:
        assert str(before) in detail
    await until(lambda: replaced(scene, target, before))
    await scene.wait_ready(60)


async def replaced(scene: Scene, name: str, before: int) -> bool:
    return scene.pid(name) != before


@pytest.mark.parametrize("kind", ["pause_short", "pause_long"])
@pytest.mark.parametrize("target", ["gateway-2", "worker-2", "presence-1", "redis", "mysql"])
async def test_a_process_that_is_held_goes_on_as_the_same(scene: Scene, kind: str, target: str) -> None:
    pid = scene.pid(target)
    async with inflicted(scene, kind, target):
        await until(lambda: in_state(pid, "T"))
    assert scene.pid(target) == pid
    await until(lambda: not_in_state(pid, "T"))


async def in_state(pid: int, state: str) -> bool:
    return state_of(pid) == state


async def not_in_state(pid: int, state: str) -> bool:
    return state_of(pid) != state


async def test_a_process_that_is_killed_while_it_is_held_is_no_error(scene: Scene) -> None:
    before = scene.pid("presence-1")
    async with inflicted(scene, "pause_short", "presence-1"), inflicted(scene, "kill", "presence-1"):
        await until(lambda: replaced(scene, "presence-1", before))
    await scene.wait_ready(60)


async def test_rolling_replaces_every_service_and_is_never_without_a_gateway(scene: Scene) -> None:
    before = {name: scene.pid(name) for name in scene.shape.services}
    asked: list[str] = []
    scene.on_step = lambda target, begins: asked.append(target) if begins else None
    async with inflicted(scene, "rolling", "all"):
        for name, pid in before.items():
            await until(lambda name=name, pid=pid: replaced(scene, name, pid))  # type: ignore[misc]
    await scene.wait_ready(60)
    assert sorted(asked) == sorted(before)


@pytest.mark.parametrize("kind", ["redis_flush", "redis_restart"])
async def test_redis_forgets_everything(scene: Scene, kind: str) -> None:
    await asked(scene, "SET", "faults:kept", "1")
    async with inflicted(scene, kind, "redis"):
        await until(lambda: is_gone(scene, "faults:kept"))


async def is_gone(scene: Scene, key: str) -> bool:
    return int(await asked(scene, "EXISTS", key)) == 0


async def test_redis_comes_back_from_a_log_without_its_tail_and_then_keeps_none(scene: Scene) -> None:
    await asked(scene, "SET", "faults:before", "1")
    enough = asyncio.Event()
    written = asyncio.create_task(write_on(scene, enough), name="writing")
    try:
        async with inflicted(scene, "redis_cut_log", "redis") as detail:
            assert int(detail.split()[0]) > 0
            enough.set()
            await asyncio.gather(written, return_exceptions=True)
            assert await asked(scene, "EXISTS", "faults:before") == 1
            assert int(await asked(scene, "GET", "faults:number")) < NUMBERS[-1]
    finally:
        enough.set()
        await asyncio.gather(written, return_exceptions=True)
    assert await setting(scene, "appendonly") == "no"
    async with inflicted(scene, "kill", "redis"):
        await until(lambda: is_gone(scene, "faults:before"))


NUMBERS: list[int] = []


async def write_on(scene: Scene, enough: asyncio.Event) -> None:
    """Count in Redis until it goes away.

    Without redis-py's own tries: those outlive the crash, count on after it, and swallow a cancellation meanwhile.
    """
    NUMBERS.clear()
    redis = make_redis(f"redis://127.0.0.1:{scene.stack.file.redis.port}/0", name="faults")
    try:
        for number in count():
            if enough.is_set():
                return
            await redis.set("faults:number", str(number).zfill(1000))
            NUMBERS.append(number)
            await asyncio.sleep(0.001)
    finally:
        await close_redis(redis)


async def test_redis_refuses_what_needs_memory(scene: Scene) -> None:
    before = await setting(scene, "maxmemory")
    async with inflicted(scene, "redis_full", "redis"):
        with pytest.raises(ResponseError, match="maxmemory"):
            await asked(scene, "SET", "faults:more", "1")
    await asked(scene, "SET", "faults:more", "1")
    assert await setting(scene, "maxmemory") == before


async def test_redis_that_dies_while_it_is_full_comes_back_with_room(scene: Scene) -> None:
    async with inflicted(scene, "redis_full", "redis"), inflicted(scene, "kill", "redis"):
        pass
    await until(lambda: takes_a_key(scene))


async def takes_a_key(scene: Scene) -> bool:
    return bool(await asked(scene, "SET", "faults:more", "1"))


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_redis_cuts_off_clients_of_a_kind_and_they_come_back(scene: Scene, kind: str) -> None:
    before = await clients(scene, kind)
    assert before
    async with inflicted(scene, f"redis_kill_{kind}", "redis"):
        assert not before & await clients(scene, kind)
    await until(lambda: has_clients(scene, kind, len(before)))


async def has_clients(scene: Scene, kind: str, count: int) -> bool:
    return len(await clients(scene, kind)) >= min(count, 2)


async def test_mysql_refuses_a_workers_writes(scene: Scene) -> None:
    async with inflicted(scene, "mysql_read_only", "mysql"):
        with pytest.raises(MySQLError, match="read-only"):
            await write_as_worker(scene, device="read_only")
    await write_as_worker(scene, device="read_only")


async def test_mysql_ends_a_workers_connections(scene: Scene) -> None:
    async with as_worker(scene) as connection:
        before = set(await rows(scene, CONNECTIONS))
        assert before
        async with inflicted(scene, "mysql_kill_connections", "mysql"):
            with pytest.raises((MySQLError, OSError, RuntimeError)):
                await connection.query("SELECT 1")
        assert not before & set(await rows(scene, CONNECTIONS))
    await scene.wait_ready(60)


async def test_an_answer_to_commit_is_lost_and_the_row_is_there(scene: Scene) -> None:
    async with inflicted(scene, "mysql_lost_commit", "worker-1"):
        with pytest.raises((MySQLError, OSError, RuntimeError)):
            await write_as_worker(scene, "worker-1:mysql", device="unanswered")
    assert await rows(scene, "SELECT 1 FROM device WHERE user_id = 'faults' AND device_id = 'unanswered'")
    await write_as_worker(scene, "worker-1:mysql", device="answered")


async def test_a_stranger_holds_half_the_partitions_rows(scene: Scene) -> None:
    free = "SELECT partition_id FROM partition_owner FOR UPDATE SKIP LOCKED"
    async with inflicted(scene, "mysql_lock_wait", "mysql"):
        assert len(await rows(scene, free)) <= 16
    await until(lambda: all_free(scene, free))


async def all_free(scene: Scene, free: str) -> bool:
    return len(await rows(scene, free)) == 32


@pytest.mark.skipif(clocks.missing() is not None, reason=f"{clocks.missing()}")
@pytest.mark.parametrize("target", ["gateway-1", "worker-1", "presence-1", "mysql"])
@pytest.mark.parametrize("seed", [1, 2])  # one forth, one back
async def test_a_clock_is_stepped_by_a_minute_and_back(scene: Scene, target: str, seed: int) -> None:
    async with inflicted(scene, "clock", target, seed=seed) as detail:
        step_s = int(detail.split()[0])
        assert abs(step_s) == 60
        await until(lambda: is_off(scene, target, step_s))
    await until(lambda: is_off(scene, target, 0))


async def is_off(scene: Scene, target: str, by_s: int) -> bool:
    return abs(await clock_s(scene, target) - time.time() - by_s) < 10


async def test_all_clients_are_cut_at_once(scene: Scene) -> None:
    async with connected(scene, "gateway-1:clients") as one, connected(scene, "gateway-2:clients") as other:
        await until(lambda: carries(scene, "gateway-1:clients", "gateway-2:clients"))
        async with inflicted(scene, "cut_clients", "all") as detail:
            assert int(detail.split()[0]) >= 2
        for reader, _ in (one, other):
            with pytest.raises(ConnectionResetError):
                await reader.read(1)


async def carries(scene: Scene, *lines: str) -> bool:
    return all(scene.proxy(line).connections for line in lines)


PARTITIONS = [
    ("partition_worker_redis", "worker-1:redis"),
    ("partition_worker_mysql", "worker-2:mysql"),
    ("partition_gateway_clients", "gateway-2:clients"),
    ("partition_gateway_redis", "gateway-1:redis"),
    ("partition_presence_redis", "presence-1:redis"),
]


@pytest.mark.parametrize("seed", range(3))  # both directions, and each alone
@pytest.mark.parametrize(("kind", "line"), [pair for pair in PARTITIONS if not pair[1].endswith("mysql")])
async def test_nothing_is_heard_over_a_partition_until_it_heals(scene: Scene, kind: str, line: str, seed: int) -> None:
    async with connected(scene, line) as through:
        async with inflicted(scene, kind, line, seed=seed):
            assert not await heard(through, within_s=0.3)
        assert await heard(through)


@pytest.mark.parametrize("line", ["worker-1:redis", "worker-2:mysql"])
async def test_a_worker_that_a_store_is_cut_off_from_is_unready_while_the_other_store_hears_it(
    scene: Scene, line: str
) -> None:
    name, _, store = line.partition(":")
    async with inflicted(scene, f"partition_worker_{store}", line):
        await until(lambda: is_missing(scene, name))
        assert scene.proxy(f"{name}:{'mysql' if store == 'redis' else 'redis'}").whole
    await scene.wait_ready(60)


async def is_missing(scene: Scene, name: str) -> bool:
    return await scene.stack.missing() == name


@pytest.mark.parametrize("seed", range(6))
async def test_a_slow_line_still_carries_everything(scene: Scene, seed: int) -> None:
    line = scene.proxy("presence-1:redis")
    async with inflicted(scene, "slow_line", line.name, seed=seed), connected(scene, line.name) as through:
        assert not line.whole
        assert await heard(through)
    assert line.whole


@pytest.mark.parametrize("seed", range(6))
async def test_a_lossy_line_breaks_some_connections_and_not_all(scene: Scene, seed: int) -> None:
    outcomes: set[bool] = set()
    async with inflicted(scene, "lossy_line", "presence-1:redis", seed=seed), asyncio.timeout(60):
        while len(outcomes) < 2:
            outcomes.add(await carries_much(scene, "presence-1:redis"))
    assert scene.proxy("presence-1:redis").whole


async def carries_much(scene: Scene, line: str) -> bool:
    try:
        async with connected(scene, line) as (reader, writer):
            for _ in range(30):
                writer.write(b"PING " + b"x" * 900 + b"\r\n")
                if not (await reader.readline()).startswith(b"$900"):
                    return False
                await reader.readexactly(902)
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True


async def test_a_line_that_is_down_is_refused_and_reset(scene: Scene) -> None:
    async with connected(scene, "worker-1:redis") as (reader, writer):
        assert await heard((reader, writer))
        async with inflicted(scene, "line_down", "worker-1:redis"):
            with pytest.raises(ConnectionResetError):
                await read_out(reader)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", scene.proxy("worker-1:redis").port)
    async with connected(scene, "worker-1:redis") as again:
        assert await heard(again)


async def read_out(reader: asyncio.StreamReader) -> None:
    while await reader.read(100):
        pass


def test_every_kind_has_a_test_here() -> None:
    words = Path(__file__).read_text(encoding="utf-8")
    named = {kind for kind in KINDS if f'"{kind}"' in words}
    made = {f"redis_kill_{kind}" for kind in ("pubsub", "normal")}
    assert named | made == set(KINDS)
