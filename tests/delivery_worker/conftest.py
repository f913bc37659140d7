"""The worker's schema on both databases that its SQL must run on, under the accounts that production has.

Migrations come as the migrator, everything else as the application: a right that is missing fails here.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from delivery_worker import grants
from delivery_worker.schema import migrate
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import Session

PASSWORD = "it's a \\ password"


def come_as(settings: MySQLSettings, part: grants.Part) -> MySQLSettings:
    """Give the way to the same database as another account."""
    who = {"mysql_user": grants.ACCOUNTS[part], "mysql_password": PASSWORD}
    return MySQLSettings.model_validate(settings.model_dump() | who)


@pytest.fixture
async def database(database: MySQLSettings) -> AsyncIterator[MySQLSettings]:
    """A database with this release's schema, for one test, as the application."""
    administrator = Session(database)
    passwords: dict[grants.Part, str] = dict.fromkeys(grants.ACCOUNTS, PASSWORD)
    for statement in grants.accounts(database.mysql_database, passwords, tls=False):
        await administrator.run(statement)
    own = database.model_copy(update={"partitions": 4, "mysql_application": grants.ACCOUNTS["application"]})
    try:
        await asyncio.to_thread(migrate, come_as(own, "migrator"))
        yield come_as(own, "application")
    finally:
        await administrator.run(f"DROP USER {', '.join(sorted(grants.ACCOUNTS.values()))}")
        administrator.close()


@pytest.fixture
def migrator(database: MySQLSettings) -> MySQLSettings:
    """The same database, as who migrates it."""
    return come_as(database, "migrator")


@pytest.fixture
async def session(database: MySQLSettings) -> AsyncIterator[Session]:
    """A session of the test's own."""
    one = Session(database)
    yield one
    one.close()
