"""The MySQL accounts: each may do what its part needs, and nothing else. That the application's suffices is shown by
all the tests beside this one, which run as it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from delivery_worker import grants
from delivery_worker.schema import await_schema, migrate
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import Session
from pymysql.err import MySQLError

from tests.delivery_worker.conftest import PASSWORD, come_as

DENIED = {1044, 1142, 1227, 1370, 1045, 1410}
"""Errors of MySQL and MariaDB that say: not you."""


@pytest.fixture
async def exporter(database: MySQLSettings) -> AsyncIterator[Session]:
    """A session of the exporter's, which names no database."""
    one = Session(come_as(database, "exporter").model_copy(update={"mysql_database": "performance_schema"}))
    yield one
    one.close()


async def denied(session: Session, statement: str) -> bool:
    try:
        await session.run(statement)
    except MySQLError as error:
        return error.args[0] in DENIED
    return False


async def test_every_table_of_the_schema_has_its_rights_written_down(
    database: MySQLSettings, migrator: MySQLSettings
) -> None:
    session = Session(migrator)
    [rows] = await session.run(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{database.mysql_database}'"
    )
    session.close()
    assert {row[0] for row in rows} == grants.TABLES.keys()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE message SET body = 'another'",
        "DELETE FROM message",
        "DELETE FROM member",
        "DELETE FROM device",
        "INSERT INTO partition_owner VALUES (9, 0, '')",
        "DELETE FROM meta",
        "UPDATE alembic_version SET version_num = '9999'",
        "CREATE TABLE another (id INT)",
        "ALTER TABLE message ADD COLUMN another INT",
        "DROP TABLE message",
        "TRUNCATE TABLE message",
        "CREATE INDEX another ON message (ts)",
        "GRANT SELECT ON message TO 'chat_exporter'@'%'",
        "CREATE USER another",
        "SELECT * FROM mysql.user",
        "SET GLOBAL sync_binlog = 0",
    ],
)
async def test_the_application_rewrites_no_message_and_changes_no_table(session: Session, statement: str) -> None:
    assert await denied(session, statement)


@pytest.mark.parametrize("statement", ["CREATE USER another", "SET GLOBAL sync_binlog = 0", "CREATE DATABASE another"])
async def test_the_migrator_keeps_to_its_database(migrator: MySQLSettings, statement: str) -> None:
    session = Session(migrator)
    assert await denied(session, statement)
    session.close()


async def test_the_migrator_reaches_no_database_of_a_name_that_only_looks_like_its_own(database: MySQLSettings) -> None:
    [made, altered, granted] = grants.accounts("one_chat", {"migrator": PASSWORD}, tls=True)
    assert r"ON `one\_chat`.* TO 'chat_migrator'@'%' WITH GRANT OPTION" in granted
    assert made.startswith("CREATE USER IF NOT EXISTS")
    assert altered.endswith("REQUIRE SSL")


@pytest.mark.parametrize(
    "statement",
    [
        "SHOW GLOBAL STATUS",
        "SHOW GLOBAL VARIABLES",
        "SHOW ENGINE INNODB STATUS",
        "SELECT user, command FROM information_schema.processlist",
        "SELECT * FROM performance_schema.threads LIMIT 1",
    ],
)
async def test_the_exporter_reads_the_servers_figures(exporter: Session, statement: str) -> None:
    assert await exporter.run(statement)


@pytest.mark.parametrize("what", ["SELECT * FROM {}.message", "SELECT * FROM {}.meta", "DELETE FROM {}.message"])
async def test_the_exporter_reads_no_row(exporter: Session, database: MySQLSettings, what: str) -> None:
    assert await denied(exporter, what.format(database.mysql_database))


async def test_the_application_waits_for_its_rights_as_for_the_schema(
    database: MySQLSettings, migrator: MySQLSettings
) -> None:
    session = Session(migrator)
    for table in grants.TABLES:
        await session.run(f"REVOKE {', '.join(grants.TABLES[table])} ON {table} FROM 'chat_application'@'%'")
    waiting = asyncio.create_task(asyncio.to_thread(await_schema, database, within_s=60.0))
    await asyncio.to_thread(migrate, migrator)
    await waiting
    session.close()
