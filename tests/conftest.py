"""What all tests share: private servers and private stacks, started when the first test asks for one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.harness.stack import Stack

MakeStack = Callable[..., Awaitable[Stack]]


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
