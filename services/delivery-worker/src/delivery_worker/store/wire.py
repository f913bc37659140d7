"""Owns one connection to MySQL: how it is opened and set up, and one round trip on it.

It must never decide what a failure means: it lets the driver's errors through.
"""

import ssl
from typing import Any, Final, Protocol

import aiomysql
from chatcore.errors import ConfigurationError
from chatcore.tls import trusting
from pymysql.constants import ER
from pymysql.err import MySQLError, OperationalError

from delivery_worker.settings import MySQLSettings

SESSION: Final = (
    "SET SESSION transaction_isolation = 'READ-COMMITTED'",
    "SET SESSION tx_isolation = 'READ-COMMITTED'",
)
"""MySQL's name and MariaDB's for the same variable: one of the two is known."""
LIMITS: Final = (
    "SET SESSION wait_timeout = {idle_s:d}, innodb_lock_wait_timeout = 3, autocommit = 1, "
    "sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
)

Rows = tuple[tuple[Any, ...], ...]


class Wire(Protocol):
    """An open connection, in autocommit and READ COMMITTED, used by one task at a time."""

    @property
    def ended(self) -> bool:
        """Whether the server's end of it was heard. One that has ended unheard is known at its next use."""

    async def exchange(self, sql: str) -> list[Rows]:
        """Send statements in one packet, and give the rows of each.

        An error in one keeps those behind it from running. Raises `pymysql.err.MySQLError`.
        """

    def close(self) -> None:
        """Cut it; the server rolls back what was open."""


class Open(Protocol):
    """Opens a connection that the server ends after `idle_s` without a word."""

    async def __call__(self, settings: MySQLSettings, idle_s: int) -> Wire:
        """Connect. Raises `pymysql.err.MySQLError`, OSError, `ConfigurationError`."""


class MySQLWire:
    """`Wire` on aiomysql."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def ended(self) -> bool:
        """Look at the stream: the driver reads only after it has asked, and notices no end before."""
        reader, writer = self._connection._reader, self._connection._writer
        if reader is None or writer is None:
            return True
        return bool(reader.at_eof() or reader.exception() is not None or writer.transport.is_closing())

    async def exchange(self, sql: str) -> list[Rows]:
        """Send, and read every answer."""
        # A cursor reads the same attribute, and costs 50 microseconds more a statement.
        connection = self._connection
        await connection.query(sql)
        results = [connection._result.rows or ()]
        while connection._result.has_next:
            await connection.next_result()
            results.append(connection._result.rows or ())
        return results

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


async def open_wire(settings: MySQLSettings, idle_s: int) -> MySQLWire:
    """Connect to the server of the settings."""
    wire = MySQLWire(await _connected(settings))
    try:
        await _set_up(wire, idle_s=idle_s, tls=settings.mysql_tls_ca is not None)
    except BaseException:
        wire.close()
        raise
    return wire


async def _connected(settings: MySQLSettings) -> Any:
    try:
        return await aiomysql.connect(
            host=settings.mysql_host,
            port=settings.mysql_port,
            user=settings.mysql_user,
            password=settings.mysql_password.get_secret_value(),
            db=settings.mysql_database,
            charset="utf8mb4",
            autocommit=None,
            ssl=_tls(settings),
        )
    except OperationalError as error:
        # aiomysql says that it could not connect, and keeps to itself why: a certificate that is not trusted, say.
        if isinstance(error.__cause__, OSError):
            raise OperationalError(error.args[0], f"{error.args[1]}: {error.__cause__}") from error.__cause__
        raise


def _tls(settings: MySQLSettings) -> ssl.SSLContext | None:
    if settings.mysql_tls_ca is None:
        return None
    return trusting(settings.mysql_tls_ca, variable="CHAT_MYSQL_TLS_CA")


async def _set_up(wire: Wire, *, idle_s: int, tls: bool) -> None:
    known = 0
    for statement in SESSION:
        try:
            await wire.exchange(statement)
            known += 1
        except MySQLError as error:
            if error.args[0] != ER.UNKNOWN_SYSTEM_VARIABLE:
                raise
    if not known:
        raise ConfigurationError("MySQL knows neither transaction_isolation nor tx_isolation")
    await wire.exchange(LIMITS.format(idle_s=idle_s))
    if tls:
        rows = (await wire.exchange("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))[0]
        if not rows or not rows[0][1]:
            # aiomysql goes on in the clear when the server offers no TLS.
            raise ConfigurationError("MySQL offers no TLS, and CHAT_MYSQL_TLS_CA asks for it")
