"""A private Redis for the tests of presence, and what a gateway does on it."""

import asyncio
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from chatcore.keys import Keys
from chatcore.redis_client import BROKEN
from redis.asyncio import Redis

from tests.presence.gateways import Gateway


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def presence_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis for presence alone: its tests empty it and make the server wait."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is not installed: ./dev installs it")
    folder, port = tmp_path_factory.mktemp("redis"), _free_port()
    process = subprocess.Popen(
        [program, *f"--port {port} --bind 127.0.0.1 --logfile redis.log --dir".split(), str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def redis(presence_redis: str) -> AsyncIterator[Any]:
    """An empty Redis."""
    client = Redis.from_url(presence_redis, protocol=2)
    async with asyncio.timeout(10):
        while not await _answers(client):
            await asyncio.sleep(0.02)
    await client.flushall()
    yield client
    await client.aclose()


async def _answers(client: Any) -> bool:
    try:
        return bool(await client.ping())
    except BROKEN:
        return False


@pytest.fixture
def keys() -> Keys:
    return Keys(f"t{secrets.token_hex(4)}")


@pytest.fixture
async def gateway(redis: Any, presence_redis: str, keys: Keys) -> AsyncIterator[Gateway]:
    """A gateway that listens to its channel."""
    one = Gateway(Redis.from_url(presence_redis, protocol=2), keys, "gateway-1")
    await one.listen()
    yield one
    await one.close()


@pytest.fixture
async def other_gateway(redis: Any, presence_redis: str, keys: Keys) -> AsyncIterator[Gateway]:
    """A second one."""
    one = Gateway(Redis.from_url(presence_redis, protocol=2), keys, "gateway-2")
    await one.listen()
    yield one
    await one.close()
