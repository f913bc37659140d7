"""What all tests share: private servers and private stacks, started when the first test asks for one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from chatctl.failure import Failure
from chatctl.stack.mysql_flavours import FlavourName
from chatctl.stack.stack_file import MysqlAddress
from delivery_worker.settings import MySQLSettings
from hypothesis import HealthCheck, settings

from tests.harness.servers import fresh_database, running_database, running_redis
from tests.harness.stack import Stack

# A busy machine is no fault of a strategy: no test fails for the time that it took.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SLOW: Final = "takes minutes: runs with --all, or when it is named"
MakeStack = Callable[..., Awaitable[Stack]]
DatabaseServer = Callable[[FlavourName], Awaitable[MysqlAddress]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests marked `slow` too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"slow: {SLOW}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out, but for those that were named one by one."""
    if config.getoption("--all") or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack for all tests that break nothing: 2 gateways, 2 workers, 1 presence."""
    one = await Stack.start(Path(tmp_path_factory.mktemp("stack")))
    try:
        yield one
    finally:
        await one.stop()


@pytest.fixture
async def make_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MakeStack]:
    """Make stacks that a test may break."""
    async with AsyncExitStack() as running:

        async def make(**options: Any) -> Stack:
            one = await Stack.start(Path(tmp_path_factory.mktemp("stack")), **options)
            running.push_async_callback(one.stop)
            return one

        yield make


@pytest.fixture(scope="session")
async def redis_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Redis that tests share: each keeps to a key prefix of its own."""
    async with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
async def database_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseServer]:
    """Give the server of that flavour, started at its first use."""
    async with AsyncExitStack() as running:
        addresses: dict[FlavourName, MysqlAddress] = {}

        async def serve(name: FlavourName) -> MysqlAddress:
            if name not in addresses:
                folder = tmp_path_factory.mktemp(name)
                addresses[name] = await running.enter_async_context(running_database(folder, name))
            return addresses[name]

        yield serve


@pytest.fixture
async def mysql_settings(database_server: DatabaseServer) -> AsyncIterator[MySQLSettings]:
    """An empty database on MariaDB."""
    async with fresh_database(await database_server("mariadb")) as settings:
        yield settings


@pytest.fixture(params=["mariadb", "mysql"])
async def database(request: pytest.FixtureRequest, database_server: DatabaseServer) -> AsyncIterator[MySQLSettings]:
    """An empty database on each kind of server that the SQL must run on.

    MySQL is skipped where it cannot be had (off Debian, or without a network).
    """
    try:
        address = await database_server(request.param)
    except Failure as failure:
        if request.param == "mariadb":
            raise
        pytest.skip(failure.told())
    async with fresh_database(address) as settings:
        yield settings
