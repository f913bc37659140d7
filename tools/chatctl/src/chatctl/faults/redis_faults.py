"""Faults of Redis as a store: what it loses, what it refuses, whom it cuts off. Each setting is put back as it was."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chatctl.faults.scene import Scene

ANSWER_S: Final = 5.0
"""Seconds for one command of a fault; Redis may be held or cut off by another fault meanwhile."""
UNDO_S: Final = 60.0
"""Seconds for a setting to be put back: another fault may hold Redis for some of them."""
AGAIN_S: Final = 0.2
LOG_S: Final = 1.5
"""Seconds for which Redis writes its log before the log's tail is cut."""
TAIL_BYTES: Final = 64 * 1024
"""The most that is cut off; a command is cut through, most likely."""

T = TypeVar("T")


class NotUndone(Exception):
    """A fault stays: what is seen from here on says nothing about the product."""


@asynccontextmanager
async def flushed(scene: Scene, _target: str, _random: Random) -> AsyncIterator[str]:
    """Lose everything, and stay up."""
    await _asked(scene, lambda redis: redis.flushall())
    yield "FLUSHALL"


@asynccontextmanager
async def cut_off(scene: Scene, kind: str) -> AsyncIterator[str]:
    """Close the connections of all clients of a kind: `pubsub` or `normal`."""
    count = await _asked(scene, lambda redis: redis.client_kill_filter(_type=kind, skipme=True))
    yield f"{count} connections"


@asynccontextmanager
async def full(scene: Scene, _target: str, _random: Random) -> AsyncIterator[str]:
    """Refuse whatever needs memory (`noeviction`)."""
    before = (await _asked(scene, lambda redis: redis.config_get("maxmemory")))["maxmemory"] or 0
    try:
        await _asked(scene, lambda redis: redis.config_set("maxmemory", 1))
        yield "maxmemory 1"
    finally:
        await undone(lambda: _asked(scene, lambda redis: redis.config_set("maxmemory", before)))


@asynccontextmanager
async def log_cut(scene: Scene, _target: str, random: Random) -> AsyncIterator[str]:
    """Come back with the state of a moment ago: the tail of the append-only file is lost in a crash."""
    try:
        await _asked(scene, _keep_log)
        await asyncio.sleep(LOG_S)
        yield await _crash(scene, random)
    finally:
        await undone(lambda: _asked(scene, _keep_no_log))


async def _keep_log(redis: Redis) -> None:
    await redis.config_set("appendonly", "yes")
    await redis.config_rewrite()
    while True:
        if not (await redis.info("persistence"))["aof_rewrite_in_progress"]:
            return
        await asyncio.sleep(AGAIN_S)


async def _keep_no_log(redis: Redis) -> None:
    await redis.config_set("appendonly", "no")
    await redis.config_rewrite()


async def _crash(scene: Scene, random: Random) -> str:
    """Hold Redis, so that it writes no more; cut its log; kill it. It comes back and reads what is left."""
    pid = scene.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    try:
        cut = _cut_tail(scene.folder / "redis" / "appendonlydir", random)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await undone(lambda: _asked(scene, lambda redis: redis.ping()))
    return f"{cut} bytes of the log lost"


def _cut_tail(folder: Path, random: Random) -> int:
    log = max(folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    size = log.stat().st_size
    cut = min(size, random.randint(1, TAIL_BYTES))
    os.truncate(log, size - cut)
    return cut


async def _asked(scene: Scene, ask: Callable[[Redis], Awaitable[T]]) -> T:
    """Ask Redis past the proxies. Raises `RedisError`, `OSError` or `TimeoutError`."""
    redis = scene.redis()
    try:
        async with asyncio.timeout(ANSWER_S):
            return await ask(redis)
    finally:
        await redis.aclose()


async def undone(undo: Callable[[], Awaitable[Any]]) -> None:
    """Repeat what takes a fault back until it is done. Raises `NotUndone` when it never is."""
    try:
        async with asyncio.timeout(UNDO_S):
            while True:
                with suppress(RedisError, OSError):
                    await undo()
                    return
                await asyncio.sleep(AGAIN_S)
    except TimeoutError:
        raise NotUndone(f"a fault could not be undone within {UNDO_S:.0f} s") from None
