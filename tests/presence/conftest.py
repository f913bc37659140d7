"""A private Redis for the tests of presence, and gateways on it."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatcore.keys import Keys
from redis.asyncio import Redis

from tests.harness.servers import running_redis
from tests.presence.gateways import Gateway


@pytest.fixture(scope="session")
async def presence_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Redis for presence alone: its tests empty it."""
    async with running_redis(tmp_path_factory.mktemp("presence")) as url:
        yield url


@pytest.fixture
async def redis(presence_redis: str) -> AsyncIterator[Any]:
    """An empty Redis."""
    client = Redis.from_url(presence_redis, protocol=2)
    await client.flushall()
    yield client
    await client.aclose()


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
