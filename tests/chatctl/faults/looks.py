"""Looks at a scene from beside its proxies: what a fault did, and that it is undone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import aiomysql
from chatctl.faults.kinds import KINDS
from chatctl.faults.scene import Scene
from chatctl.stack.mysql_server import WORKER
from pymysql.err import MySQLError
from redis.exceptions import RedisError

DEADLINE_S = 60.0
PING = b"PING\r\n"


@asynccontextmanager
async def inflicted(scene: Scene, kind: str, target: str, *, seed: int = 1) -> AsyncIterator[str]:
    """Have a fault in force for the length of a block."""
    async with asyncio.timeout(DEADLINE_S * 2), KINDS[kind].inflict(scene, target, Random(seed)) as detail:
        yield detail


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds; what is down or cut off meanwhile is waited for."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                if await holds():
                    return
            except (OSError, RedisError, MySQLError, aiohttp.ClientError):
                pass
            await asyncio.sleep(0.05)


def state_of(pid: int) -> str:
    """Read a process's state, as proc(5) abbreviates it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def asked(scene: Scene, *command: Any) -> Any:
    """Ask Redis, past the proxies."""
    redis = scene.redis()
    try:
        async with asyncio.timeout(10):
            return await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own gap
    finally:
        await redis.aclose()


async def setting(scene: Scene, name: str) -> str:
    """Read a setting of Redis."""
    found = dict(zip(*[iter(await asked(scene, "CONFIG", "GET", name))] * 2, strict=True))
    return str(found[name.encode()].decode())


async def clients(scene: Scene, kind: str) -> set[int]:
    """Name the services' connections of a kind to Redis."""
    listed = (await asked(scene, "CLIENT", "LIST", "TYPE", kind)).decode().splitlines()
    fields = [dict(word.split("=", 1) for word in line.split()) for line in listed]
    return {int(one["id"]) for one in fields if one["user"] != "default"}


async def rows(scene: Scene, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask MySQL, past the proxies, as who may do everything."""
    async with asyncio.timeout(10), scene.mysql() as connection:
        cursor = await connection.cursor()
        await cursor.execute(sql, values or None)  # without values a percent sign is one
        return list(await cursor.fetchall())


@asynccontextmanager
async def as_worker(scene: Scene, line: str | None = None) -> AsyncIterator[Any]:
    """Connect to MySQL as a worker does, through a line's proxy or past it."""
    address = scene.stack.file.mysql
    port = address.port if line is None else scene.proxy(line).port
    connection = await aiomysql.connect(
        host="127.0.0.1",
        port=port,
        user=WORKER,
        password=address.password,
        db=address.database,
        connect_timeout=10,
        autocommit=None,  # a worker leaves it as it is, and so asks nothing with COMMIT in it
    )
    try:
        yield connection
    finally:
        connection.close()


async def write_as_worker(scene: Scene, line: str | None = None, *, device: str) -> None:
    """Write one row and commit, as a worker would."""
    async with as_worker(scene, line) as connection:
        await connection.query("BEGIN")
        await connection.query(
            f"REPLACE INTO device (user_id, device_id, first_seen, last_seen) VALUES ('faults', '{device}', 0, 0)"
        )
        await connection.query("COMMIT")


async def clock_s(scene: Scene, name: str) -> float:
    """Read a process's wall clock, to the second."""
    if name == "mysql":
        return float((await rows(scene, "SELECT UNIX_TIMESTAMP()"))[0][0])
    [url] = [process.metrics_url for process in scene.stack.processes() if process.name == name]
    async with aiohttp.ClientSession() as session, session.get((url or "").replace("/metrics", "/healthz")) as answer:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()


@asynccontextmanager
async def connected(scene: Scene, line: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect through a line's proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.proxy(line).port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def heard(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, within_s: float = 10.0) -> bool:
    """Ask what a line leads to for any answer: a bare PING, which Redis answers, and an HTTP server refuses."""
    reader, writer = line
    writer.write(PING)
    try:
        async with asyncio.timeout(within_s):
            return bool(await reader.read(1))
    except TimeoutError:
        return False
