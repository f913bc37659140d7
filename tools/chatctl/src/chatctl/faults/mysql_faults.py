"""Faults of MySQL as a store: what it refuses, whom it cuts off, whose locks it keeps, which answers get lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, TypeVar

from pymysql.err import MySQLError

from chatctl.faults.mysql_requests import commits
from chatctl.faults.redis_faults import undone
from chatctl.faults.scene import Scene
from chatctl.faults.toxics import Direction, LoseAnswer
from chatctl.stack.mysql_server import WORKER

ANSWER_S: Final = 10.0
"""Seconds for one statement of a fault; a lock may have to be waited for."""
GONE: Final = 1094
"""ER_NO_SUCH_THREAD: the connection ended before it could be killed."""

T = TypeVar("T")


@asynccontextmanager
async def read_only(scene: Scene, _target: str, _random: Random) -> AsyncIterator[str]:
    """Refuse every write of the workers, as a primary does that is being replaced."""
    try:
        await _run(scene, "SET GLOBAL read_only = ON")
        yield "read_only"
    finally:
        await undone(lambda: _run(scene, "SET GLOBAL read_only = OFF"))


@asynccontextmanager
async def connections_killed(scene: Scene, _target: str, _random: Random) -> AsyncIterator[str]:
    """End every connection of the workers, whatever is under way on it."""
    yield f"{await _asked(scene, _kill_workers)} connections"


async def _kill_workers(connection: Any) -> int:
    cursor = await connection.cursor()
    await cursor.execute("SELECT id FROM information_schema.processlist WHERE user LIKE %s", (f"{WORKER}%",))
    ids = [row[0] for row in await cursor.fetchall()]
    for number in ids:
        try:
            await cursor.execute(f"KILL {number:d}")
        except MySQLError as error:
            if error.args[0] != GONE:
                raise
    return len(ids)


@asynccontextmanager
async def commits_unanswered(scene: Scene, target: str, _random: Random) -> AsyncIterator[str]:
    """Lose the answer to every COMMIT of a worker; the server has carried it out."""
    with scene.proxy(f"{target}:mysql").afflicted(LoseAnswer(direction=Direction.UP, listener=commits)):
        yield "every answer to a COMMIT is lost"


@asynccontextmanager
async def rows_locked(scene: Scene, _target: str, random: Random) -> AsyncIterator[str]:
    """Hold the locks of half the partitions' rows, as a stranger's transaction may."""
    async with scene.mysql() as connection:
        cursor = await connection.cursor()
        await cursor.execute("SELECT partition_id FROM partition_owner")
        partitions = sorted(row[0] for row in await cursor.fetchall())
        chosen = sorted(random.sample(partitions, (len(partitions) + 1) // 2))
        await connection.begin()
        places = ",".join(["%s"] * len(chosen))
        async with asyncio.timeout(ANSWER_S):
            await cursor.execute(
                f"SELECT * FROM partition_owner WHERE partition_id IN ({places}) ORDER BY partition_id FOR UPDATE",  # noqa: S608 - placeholders
                chosen,
            )
        yield f"partitions {chosen}"


async def _run(scene: Scene, sql: str) -> None:
    await _asked(scene, lambda connection: connection.query(sql))


async def _asked(scene: Scene, ask: Callable[[Any], Awaitable[T]]) -> T:
    """Ask MySQL past the proxies. Raises `OSError`, which every failure of the driver becomes, or `TimeoutError`."""
    try:
        async with asyncio.timeout(ANSWER_S), scene.mysql() as connection:
            return await ask(connection)
    except MySQLError as error:
        raise OSError(f"MySQL: {error}") from error
