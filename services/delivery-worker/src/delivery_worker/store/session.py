"""Owns one MySQL session: how it is opened, and one round trip on it.

It must never repeat a statement: an error or a time-out closes the session, and what was asked is unknown.
"""

import asyncio
import ssl
from time import monotonic
from typing import Any, Final

import aiomysql
from chatcore.errors import ConfigurationError, StoreUnavailable
from chatcore.redis_client import BROKEN
from pymysql.constants import ER
from pymysql.err import MySQLError, OperationalError

from delivery_worker.settings import MySQLSettings

CONNECT_S: Final = 3.0
"""Seconds to connect and to set the session up."""
TRANSACTION_S: Final = 5.0
"""Seconds for one transaction, all its round trips together (R2a)."""
SESSION: Final = (
    "SET SESSION transaction_isolation = 'READ-COMMITTED'",
    "SET SESSION tx_isolation = 'READ-COMMITTED'",
)
"""MySQL's name and MariaDB's for the same variable: one of the two is known."""
LIMITS: Final = (
    "SET SESSION wait_timeout = {idle_s:d}, innodb_lock_wait_timeout = 3, autocommit = 1, "
    "sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
)
BATCH_IDLE_S: Final = 8
"""A worker that vanished in mid-transaction holds its locks for so long at most (R2a); an idle one asks every 3 s."""
READ_IDLE_S: Final = 600
"""Of a session that only reads and holds no lock; past three quarters of it this side opens a new one."""

Rows = tuple[tuple[Any, ...], ...]


class Session:
    """One connection, used by one task at a time. It connects at its first use, and anew after any error."""

    def __init__(self, settings: MySQLSettings, *, idle_s: int = BATCH_IDLE_S) -> None:
        self._settings = settings
        self._idle_s = idle_s
        self._connection: Any = None
        self._used_at = 0.0

    @property
    def connected(self) -> bool:
        """Whether a connection stands, as far as this side knows."""
        return self._connection is not None

    async def run(self, sql: str) -> list[Rows]:
        """Send statements in one packet, and give the rows of each. Connects first where nothing stands.

        Raises `pymysql.err.MySQLError` for what the server refuses (the session stays, and a transaction stays
        open), `StoreUnavailable` when the connection failed or did not answer within `TRANSACTION_S` (the session
        is closed, and the outcome is open). Cancelling closes the session as well.
        """
        if monotonic() - self._used_at > self._idle_s * 0.75:
            self.close()  # the server has ended it, or is about to
        return await self._send(sql, connect=True)

    async def go_on(self, sql: str) -> list[Rows]:
        """Do as `run`, within the transaction that it opened, and never on a new connection.

        A worker that paused in between would write without the fence that it took before (R1c).
        """
        return await self._send(sql, connect=False)

    async def _send(self, sql: str, *, connect: bool) -> list[Rows]:
        if self._connection is None and not connect:
            raise StoreUnavailable("MySQL: the session of this transaction is gone")
        try:
            async with asyncio.timeout(TRANSACTION_S):
                connection = self._connection or await self._connect()
                self._used_at = monotonic()
                return await _exchange(connection, sql)
        except MySQLError as error:
            if _is_refusal(error):
                raise
            self.close()
            raise StoreUnavailable(f"MySQL: {error}") from error
        except BROKEN as error:
            self.close()
            raise StoreUnavailable(f"MySQL: {type(error).__name__}: {error}") from error
        except BaseException:
            self.close()
            raise

    async def rollback(self) -> None:
        """Roll back whatever is open. A failure closes the session, which does the same."""
        if self._connection is None:
            return
        try:
            await self.go_on("ROLLBACK")
        except (MySQLError, StoreUnavailable):
            self.close()

    def close(self) -> None:
        """Cut the connection; the server rolls back what was open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connect(self) -> Any:
        settings = self._settings
        async with asyncio.timeout(CONNECT_S):
            connection = await aiomysql.connect(
                host=settings.mysql_host,
                port=settings.mysql_port,
                user=settings.mysql_user,
                password=settings.mysql_password.get_secret_value(),
                db=settings.mysql_database,
                charset="utf8mb4",
                autocommit=None,
                ssl=_tls(settings),
            )
            try:
                await _set_up(connection, idle_s=self._idle_s, tls=settings.mysql_tls_ca is not None)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection


def _is_refusal(error: MySQLError) -> bool:
    """Tell what the server says of a statement from what the client library says of the connection (codes ≥ 2000)."""
    code = error.args[0] if error.args else 0
    if not isinstance(code, int) or code == 0:
        return False
    lost = code in (ER.SERVER_SHUTDOWN, ER.CON_COUNT_ERROR, 1927, 1317)
    return not lost and not (isinstance(error, OperationalError) and 2000 <= code < 3000)


def _tls(settings: MySQLSettings) -> ssl.SSLContext | None:
    if settings.mysql_tls_ca is None:
        return None
    return ssl.create_default_context(cafile=str(settings.mysql_tls_ca))


async def _set_up(connection: Any, *, idle_s: int, tls: bool) -> None:
    known = 0
    for statement in SESSION:
        try:
            await _exchange(connection, statement)
            known += 1
        except MySQLError as error:
            if error.args[0] != ER.UNKNOWN_SYSTEM_VARIABLE:
                raise
    if not known:
        raise ConfigurationError("MySQL knows neither transaction_isolation nor tx_isolation")
    await _exchange(connection, LIMITS.format(idle_s=idle_s))
    if tls:
        rows = (await _exchange(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"))[0]
        if not rows or not rows[0][1]:
            # aiomysql goes on in the clear when the server offers no TLS.
            raise ConfigurationError("MySQL offers no TLS, and CHAT_MYSQL_TLS_CA asks for it")


async def _exchange(connection: Any, sql: str) -> list[Rows]:
    # A cursor reads the same attribute, and costs 50 microseconds more a statement.
    await connection.query(sql)
    results = [connection._result.rows or ()]
    while connection._result.has_next:
        await connection.next_result()
        results.append(connection._result.rows or ())
    return results
