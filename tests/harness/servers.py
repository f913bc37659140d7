"""Owns single private servers, for tests that need a Redis or a database and no whole stack."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomysql
from chatctl.failure import tail
from chatctl.stack import logs, mysql_server, ports, program, redis_server
from chatctl.stack.mysql_flavours import FlavourName, flavour
from chatctl.stack.mysql_server import MysqlServer
from chatctl.stack.program import Program
from chatctl.stack.stack_file import MysqlAddress
from delivery_worker.settings import MySQLSettings

REDIS_PASSWORD = "of-the-tests"
"""Of the services' users, who have their rights under any prefix here: each test has its own."""
START_S = 60
"""Seconds for a server to answer; on an idle machine it takes one or two."""


@asynccontextmanager
async def running_redis(folder: Path) -> AsyncIterator[str]:
    """Run a Redis as the stack's one; gives its URL, for the default user, who may do everything."""
    [port] = ports.private(1)
    made = redis_server.redis_program(folder=folder / "redis", port=port, password=REDIS_PASSWORD, prefix="*")
    async with _running(made, folder, lambda: redis_server.answers(port)):
        yield redis_server.url_of(port)


@asynccontextmanager
async def running_database(folder: Path, name: FlavourName) -> AsyncIterator[MysqlAddress]:
    """Run a MariaDB or a MySQL as the stack's one, durable commits included. Raises `Failure` if there is none."""
    [port] = ports.private(1)
    socket = mysql_server.socket_path(folder)
    address = MysqlAddress(
        host="127.0.0.1",
        port=port,
        user="chat",
        password=secrets.token_hex(16),
        database="chat",
        socket=str(socket),
    )
    server = await asyncio.to_thread(
        lambda: MysqlServer(folder=folder, address=address, flavour=flavour(name))  # fetching a MySQL takes minutes
    )
    await asyncio.to_thread(server.prepare)
    try:
        async with _running(server.program(), folder, lambda: mysql_server.answers(address)):
            yield address
    finally:
        mysql_server.remove_socket(socket, folder)


@asynccontextmanager
async def fresh_database(address: MysqlAddress) -> AsyncIterator[MySQLSettings]:
    """Make an empty database on a running server, and drop it at the end."""
    name = f"test_{secrets.token_hex(6)}"
    await execute(address, f"CREATE DATABASE {name}")
    try:
        yield MySQLSettings(
            mysql_host=address.host,
            mysql_port=address.port,
            mysql_user=address.user,
            mysql_password=address.password,
            mysql_database=name,
        )
    finally:
        await execute(address, f"DROP DATABASE {name}")


async def execute(address: MysqlAddress, sql: str) -> None:
    """Run one statement as the server's all-powerful user."""
    connection = await aiomysql.connect(
        host=address.host, port=address.port, user=address.user, password=address.password, autocommit=True
    )
    try:
        await connection.query(sql)
    finally:
        connection.close()


@asynccontextmanager
async def _running(made: Program, folder: Path, answers: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    process = await program.start(made, folder)
    try:
        async with asyncio.timeout(START_S):
            while not await answers():
                assert process.returncode is None, "\n".join(tail(logs.path_of(folder, made.name)))
                await asyncio.sleep(0.05)
        yield
    finally:
        await program.stop(process, made.stop_s)
