"""Owns one MySQL session: when it is opened and closed, and what its failures mean.

It must never repeat a statement: an error or a time-out closes the session, and what was asked is unknown.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from chatcore.errors import SessionLost, StoreUnavailable
from chatcore.redis_client import BROKEN
from pymysql.constants import CR, ER
from pymysql.err import MySQLError, OperationalError

from delivery_worker.settings import MySQLSettings
from delivery_worker.store.wire import Open, Rows, Wire, open_wire

CONNECT_S: Final = 3.0
"""Seconds to connect and to set the session up."""
TRANSACTION_S: Final = 5.0
"""Seconds for one transaction, all its round trips together (R2a)."""
BATCH_IDLE_S: Final = 8
"""A worker that vanished in mid-transaction holds its locks for so long at most (R2a); an idle one asks every 3 s."""
LOST: Final = (CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.SERVER_SHUTDOWN, 1927)
"""Errors that say that the connection has ended; 1927 is MariaDB's for one that was killed."""
READ_IDLE_S: Final = 600
"""Of a session that only reads and holds no lock; past three quarters of it this side opens a new one."""


class Session:
    """One connection, used by one task at a time. It connects at its first use, and anew after any error."""

    def __init__(
        self,
        settings: MySQLSettings,
        *,
        idle_s: int = BATCH_IDLE_S,
        open_with: Open = open_wire,
        failed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._failed = failed
        """Is told the number of each error; 0: no answer."""
        self._idle_s = idle_s
        self._open = open_with
        self._wire: Wire | None = None
        self._used_at = 0.0
        self.busy_s = 0.0
        """Seconds in which it was in use, connecting included."""

    @property
    def connected(self) -> bool:
        """Whether a connection stands, as far as this side knows."""
        return self._wire is not None

    async def run(self, sql: str) -> list[Rows]:
        """Send statements in one packet, and give the rows of each. Connects first where nothing stands.

        Raises `pymysql.err.MySQLError` for what the server refuses (the session stays, and a transaction stays
        open), `StoreUnavailable` when the connection failed or did not answer within `TRANSACTION_S` (the session
        is closed, and the outcome is open), of that `SessionLost` when one that stood before has ended. Cancelling
        closes the session as well.
        """
        idle = monotonic() - self._used_at > self._idle_s * 0.75
        if idle or (self._wire is not None and self._wire.ended):
            self.close()  # the server has ended it, or is about to
        return await self._send(sql, connect=True)

    async def go_on(self, sql: str) -> list[Rows]:
        """Do as `run`, within the transaction that it opened, and never on a new connection.

        A worker that paused in between would write without the fence that it took before (R1c).
        """
        return await self._send(sql, connect=False)

    async def _send(self, sql: str, *, connect: bool) -> list[Rows]:
        if self._wire is None and not connect:
            raise StoreUnavailable("MySQL: the session of this transaction is gone")
        began, failure = monotonic(), SessionLost if self._wire is not None else StoreUnavailable
        try:
            async with asyncio.timeout(TRANSACTION_S):
                wire = self._wire or await self._connect()
                self._used_at = monotonic()
                return await wire.exchange(sql)
        except MySQLError as error:
            self._failed(error.args[0] if error.args and isinstance(error.args[0], int) else 0)
            if _is_refusal(error):
                raise
            self.close()
            lost = bool(error.args) and error.args[0] in LOST
            raise (failure if lost else StoreUnavailable)(f"MySQL: {error}") from error
        except TimeoutError as error:
            self._failed(0)
            self.close()
            raise StoreUnavailable("MySQL: no answer in time") from error
        except BROKEN as error:
            self._failed(0)
            self.close()
            raise failure(f"MySQL: {type(error).__name__}: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            self.busy_s += monotonic() - began

    async def rollback(self) -> None:
        """Roll back whatever is open. A failure closes the session, which does the same."""
        if self._wire is None:
            return
        try:
            await self.go_on("ROLLBACK")
        except (MySQLError, StoreUnavailable):
            self.close()

    def close(self) -> None:
        """Cut the connection; the server rolls back what was open."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _connect(self) -> Wire:
        async with asyncio.timeout(CONNECT_S):
            self._wire = await self._open(self._settings, self._idle_s)
        return self._wire


def _is_refusal(error: MySQLError) -> bool:
    """Tell what the server says of a statement from what the client library says of the connection (codes ≥ 2000)."""
    code = error.args[0] if error.args else 0
    if not isinstance(code, int) or code == 0:
        return False
    lost = code in (ER.SERVER_SHUTDOWN, ER.CON_COUNT_ERROR, 1927, 1317)
    return not lost and not (isinstance(error, OperationalError) and 2000 <= code < 3000)
