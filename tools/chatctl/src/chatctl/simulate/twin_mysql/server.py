"""Owns the twin of a MySQL server: sessions, their packets of statements, lock waits, and the ends of both.

A client's message is a packet of SQL; the answer is the rows of each statement, or the error that ended it. It must
never answer a COMMIT that it did not make, unless a fault asks for just that.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final

from pymysql.constants import ER
from pymysql.err import InternalError, MySQLError, OperationalError

from chatctl.simulate.twin_mysql.expressions import Scope
from chatctl.simulate.twin_mysql.lexer import Statement, statements_of
from chatctl.simulate.twin_mysql.statements import Prepared, prepared
from chatctl.simulate.twin_mysql.transactions import Database, Rows, Transaction

LOCK_WAIT_S: Final = 3.0
"""`innodb_lock_wait_timeout` of the worker's sessions."""


class TwinMySQL:
    """A server. `now_ms` is its clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.database = Database(now_ms)
        self.up = True
        self.read_only = False
        self.deadlocks = 0
        """So many locks to come are refused as deadlocks."""
        self.sessions: dict[MySQLSession, None] = {}

    def migrate(self, *, partitions: int, epoch: str) -> None:
        """Write what the migrations write."""
        values = {"partitions": str(partitions), "epoch": epoch, "owner_epoch": "0"}
        self.database.seed("meta", [{"name": name, "value": value} for name, value in values.items()])
        owners = [{"partition_id": partition, "epoch": 0, "owner": ""} for partition in range(partitions)]
        self.database.seed("partition_owner", owners)

    def accept(self, tell: Callable[[Any], None], cut: Callable[[], None], client: str) -> "MySQLSession":
        """Begin a session. Raises `ConnectionRefusedError` while it is down."""
        if not self.up:
            raise ConnectionRefusedError("MySQL is down")
        session = MySQLSession(self, tell, cut, client)
        self.sessions[session] = None
        return session

    def stop(self) -> None:
        """End, and with it every session and open transaction. What is committed stays."""
        self.up = False
        self.kill_sessions()

    def start(self) -> None:
        """Serve again."""
        self.up = True

    def kill_sessions(self) -> None:
        """End every session."""
        for session in list(self.sessions):
            session.cut()


class MySQLSession:
    """One connection of a client."""

    def __init__(self, server: TwinMySQL, tell: Callable[[Any], None], cut: Callable[[], None], client: str) -> None:
        self.tell, self.cut, self._client = tell, cut, client
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._open: Transaction | None = None
        self._packets: deque[str] = deque()
        self._running: Generator[Any, None, list[Rows]] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._current: Transaction | None = None
        self._idle_s = 0.0
        self._heard_at = 0.0
        self._last_insert_id = 0

    def received(self, message: Any) -> None:
        """Take a packet, or, first, after how many silent seconds the session ends."""
        self._heard_at = self._loop.time()
        if isinstance(message, float):
            self._idle_s = message
            self._watch()
            return
        self._packets.append(message)
        self._begin_next()

    def closed(self) -> None:
        """End: what is open is rolled back."""
        self._server.sessions.pop(self, None)
        self._stop_waiting()
        self._running = None
        for transaction in (self._current, self._open):
            if transaction is not None:
                transaction.end()
        self._current = self._open = None
        self._idle_s = 0.0

    def _watch(self) -> None:
        if not self._idle_s:
            return
        silent_s = self._loop.time() - self._heard_at
        if silent_s >= self._idle_s and self._running is None:
            self.cut()
        else:
            self._loop.call_later(max(0.1, self._idle_s - silent_s), self._watch)

    def _begin_next(self) -> None:
        if self._running is None and self._packets:
            self._running = self._packet(self._packets.popleft())
            self._go_on(lambda running: running.send(None))

    def _go_on(self, move: Callable[[Generator[Any, None, list[Rows]]], Any]) -> None:
        """Run until the packet is done, failed, or waits for a lock."""
        running = self._running
        if running is None:
            return
        try:
            self._wait(move(running))
            return
        except StopIteration as done:
            answer: Any = done.value
        except MySQLError as error:
            answer = error
        self._running = None
        self.tell(answer)
        self._begin_next()

    def _wait(self, key: Any) -> None:
        locks, transaction = self._server.database.locks, self._current
        assert transaction is not None  # noqa: S101 - only a transaction waits
        if self._server.deadlocks or locks.would_deadlock(transaction, key):
            self._server.deadlocks = max(0, self._server.deadlocks - 1)
            self._throw(OperationalError(ER.LOCK_DEADLOCK, "Deadlock found when trying to get lock"))
            return
        self._waiting = self._loop.call_later(LOCK_WAIT_S, self._time_out)
        locks.wait(transaction, key, self._soon_granted)

    def _soon_granted(self) -> None:
        self._loop.call_soon(self._granted)

    def _granted(self) -> None:
        self._stop_waiting()
        self._go_on(lambda running: running.send(None))

    def _time_out(self) -> None:
        self._stop_waiting()
        if self._current is not None:
            self._server.database.locks.give_up(self._current)
        self._throw(OperationalError(ER.LOCK_WAIT_TIMEOUT, "Lock wait timeout exceeded; try restarting transaction"))

    def _throw(self, error: MySQLError) -> None:
        self._go_on(lambda running: running.throw(error))

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _packet(self, sql: str) -> Generator[Any, None, list[Rows]]:
        results: list[Rows] = []
        for statement in statements_of(sql):
            rows = yield from self._statement(statement)
            results.append(rows)
        return results

    def _statement(self, statement: Statement) -> Generator[Any, None, Rows]:
        made = prepared(statement.shape)
        if made.run is None:
            self._obey(made.verb)
            return ()
        if made.writes and self._server.read_only:
            raise InternalError(1290, "The MariaDB server is running with the --read-only option")
        self._current = self._open or Transaction(self._server.database, self._client)
        try:
            rows = yield from self._in_transaction(made, statement, self._current)
        except MySQLError as error:
            if self._open is None or error.args[0] == ER.LOCK_DEADLOCK:
                self._end()
            raise
        finally:
            transaction, self._current = self._current, None
        if self._open is None and transaction is not None:
            transaction.commit()
        return rows

    def _in_transaction(
        self, made: Prepared, statement: Statement, transaction: Transaction
    ) -> Generator[Any, None, Rows]:
        scope = Scope(statement.literals, self._server.database.now_ms(), last_insert_id=self._last_insert_id)
        assert made.run is not None  # noqa: S101 - the caller looked
        if made.writes and self._server.deadlocks:
            self._server.deadlocks -= 1
            raise OperationalError(ER.LOCK_DEADLOCK, "Deadlock found when trying to get lock")
        mark = transaction.mark() if made.writes else None
        try:
            return (yield from made.run(transaction, scope))
        except MySQLError:
            if mark is not None:
                transaction.restore(mark)
            raise
        finally:
            self._last_insert_id = scope.last_insert_id

    def _obey(self, verb: str) -> None:
        if verb in ("BEGIN", "SNAPSHOT", "COMMIT"):
            if self._open is not None:
                self._open.commit()
            self._open = None
        if verb in ("BEGIN", "SNAPSHOT"):
            self._open = Transaction(self._server.database, self._client, snapshot=verb == "SNAPSHOT")
        elif verb == "ROLLBACK":
            self._end()

    def _end(self) -> None:
        for transaction in (self._current, self._open):
            if transaction is not None:
                transaction.end()
        self._open = None
