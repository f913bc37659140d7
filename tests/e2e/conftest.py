"""Owns the fixtures that all end-to-end tests share."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.cast import Cast
from tests.harness.system import System


@pytest.fixture
async def cast(stack: System) -> AsyncIterator[Cast]:
    """Users of one test on the system that all tests share."""
    async with Cast(stack) as made:
        yield made
