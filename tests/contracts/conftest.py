"""Each contract test runs against the real server and against its twin."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.conftest import DatabaseServer
from tests.contracts.mysql_worlds import MySQLWorld, RealMySQL
from tests.contracts.mysql_worlds import TwinWorld as TwinMySQLWorld
from tests.contracts.redis_worlds import RealRedis, RedisWorld, TwinWorld
from tests.harness.servers import fresh_database, running_redis


@pytest.fixture(scope="session")
async def contract_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Give the URL of a Redis for these tests alone: they empty it, fill it and cut its clients."""
    async with AsyncExitStack() as running:
        urls: list[str] = []

        async def serve() -> str:
            if not urls:
                urls.append(await running.enter_async_context(running_redis(tmp_path_factory.mktemp("redis"))))
            return urls[0]

        yield serve


@pytest.fixture(params=["real", "twin"])
async def world(
    request: pytest.FixtureRequest, contract_redis: Callable[[], Awaitable[str]]
) -> AsyncIterator[RedisWorld]:
    """A Redis of either kind, empty."""
    one: RedisWorld = RealRedis(await contract_redis()) if request.param == "real" else TwinWorld()
    yield one
    await one.close()


@pytest.fixture(params=["real", "twin"])
async def mysql(request: pytest.FixtureRequest, database_server: DatabaseServer) -> AsyncIterator[MySQLWorld]:
    """A migrated MySQL of either kind."""
    if request.param == "twin":
        twin = TwinMySQLWorld()
        yield twin
        twin.close()
        return
    async with fresh_database(await database_server("mariadb")) as settings:
        real = RealMySQL(settings)
        await real.migrate()
        yield real
        real.close()
