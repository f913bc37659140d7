"""Real databases for the worker's store: MariaDB and MySQL, each with a fresh schema for every test."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chatctl.stack import mysql_server, program
from chatctl.stack.mysql_flavours import flavour
from chatctl.stack.mysql_server import MysqlServer
from chatctl.stack.ports import private
from chatctl.stack.stack_file import MysqlAddress
from delivery_worker.schema import migrate
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import Session

START_S = 120


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[MysqlAddress]:
    """A private server; MySQL's own programs are fetched from the distribution the first time."""
    folder = Path(tmp_path_factory.mktemp(request.param))
    socket = mysql_server.socket_path(folder)
    address = MysqlAddress(
        host="127.0.0.1",
        port=private(1)[0],
        user="chat",
        password=secrets.token_hex(8),
        database="chat",
        socket=str(socket),
    )
    kind = await asyncio.to_thread(flavour, request.param)
    made = MysqlServer(folder=folder, address=address, flavour=kind)
    await asyncio.to_thread(made.prepare)
    process = await program.start(made.program(), folder)
    try:
        async with asyncio.timeout(START_S):
            while not await mysql_server.answers(address):
                await asyncio.sleep(0.1)
        yield address
    finally:
        await program.stop(process, 30)
        mysql_server.remove_socket(socket, folder)


@pytest.fixture
async def database(server: MysqlAddress) -> AsyncIterator[MySQLSettings]:
    """A database with this release's schema, for one test."""
    name = f"t{secrets.token_hex(6)}"
    settings = settings_of(server, server.database)
    session = Session(settings)
    await session.run(f"CREATE DATABASE {name}")
    own = settings_of(server, name)
    await asyncio.to_thread(migrate, own)
    yield own
    await session.run(f"DROP DATABASE {name}")
    session.close()


def settings_of(address: MysqlAddress, database: str, **changes: Any) -> MySQLSettings:
    values: dict[str, Any] = {
        "mysql_host": address.host,
        "mysql_port": address.port,
        "mysql_user": address.user,
        "mysql_password": address.password,
        "mysql_database": database,
        "partitions": 4,
        **changes,
    }
    return MySQLSettings(**values)


@pytest.fixture
async def session(database: MySQLSettings) -> AsyncIterator[Session]:
    one = Session(database)
    yield one
    one.close()
