"""The worker's schema on both databases that its SQL must run on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from delivery_worker.schema import migrate
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import Session


@pytest.fixture
async def database(database: MySQLSettings) -> MySQLSettings:
    """A database with this release's schema, for one test."""
    own = database.model_copy(update={"partitions": 4})
    await asyncio.to_thread(migrate, own)
    return own


@pytest.fixture
async def session(database: MySQLSettings) -> AsyncIterator[Session]:
    """A session of the test's own."""
    one = Session(database)
    yield one
    one.close()
