"""A Redis of a module's own, whose settings and users its tests change."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.servers import running_redis


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Its URL."""
    async with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url
