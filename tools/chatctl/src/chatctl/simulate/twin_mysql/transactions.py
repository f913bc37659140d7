"""Owns the rows of the twin and what a transaction sees of them: READ COMMITTED, or one snapshot. No I/O.

A statement that meets a locked row yields the lock that it waits for, and goes on when it has it. A transaction's rows
are its own until it commits.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

from chatctl.simulate.twin_mysql.locks import Locks
from chatctl.simulate.twin_mysql.tables import TABLES, Key, Row, Table

Rows = tuple[tuple[Any, ...], ...]
Running = Generator[Any, None, Rows]
"""A statement under way: yields keys of locks that it waits for, returns its rows."""
PRIMARY: Final = 0


class Database:
    """Committed rows, and the locks on them."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.locks = Locks()
        self.rows: dict[str, dict[Key, Row]] = {name: {} for name in TABLES}
        self.indexed: dict[Key, Key] = {}
        """Primary keys by the further unique keys."""
        self.committing: Callable[[str, Mapping[tuple[str, Key], Row | None]], None] | None = None
        """Hears who commits which rows, by table and key, before they are true. For a judge."""

    def apply(self, table: Table, key: Key, row: Row | None) -> None:
        """Put a committed row in its place, or remove it."""
        rows = self.rows[table.name]
        old = rows.pop(key, None) if row is None else rows.get(key)
        for unique in table.keys_of(old)[1:] if old is not None else ():
            self.indexed.pop(unique, None)
        if row is not None:
            rows[key] = row
            for unique in table.keys_of(row)[1:]:
                self.indexed[unique] = key

    def seed(self, name: str, rows: Iterable[Row]) -> None:
        """Write rows as a migration does."""
        table = TABLES[name]
        for row in rows:
            self.apply(table, table.key_of(row), row)


class Transaction:
    """What one session does between BEGIN and its end."""

    def __init__(self, database: Database, client: str, *, snapshot: bool = False) -> None:
        self.database, self._client = database, client
        self._snapshot = {name: dict(rows) for name, rows in database.rows.items()} if snapshot else None
        self._writes: dict[tuple[str, Key], Row | None] = {}
        self._indexed: dict[Key, Key] = {}

    def mark(self) -> Any:
        """Remember what was written, for a statement that may fail."""
        return dict(self._writes), dict(self._indexed)

    def restore(self, mark: Any) -> None:
        """Undo what a failed statement wrote. Its locks stay, as InnoDB's do."""
        self._writes, self._indexed = mark

    def visible(self, table: Table) -> list[Row]:
        """Give the rows that a plain SELECT sees."""
        rows = (self._snapshot or self.database.rows)[table.name]
        own = {key: row for (name, key), row in self._writes.items() if name == table.name}
        if not own:
            return list(rows.values())
        return [row for row in {**rows, **own}.values() if row is not None]

    def latest(self, table: Table, key: Key) -> Row | None:
        """Give a row as a locking read or a write finds it."""
        own = (table.name, key)
        return self._writes[own] if own in self._writes else self.database.rows[table.name].get(key)

    def taken_by(self, table: Table, row: Row) -> Row | None:
        """Give the row that has one of `row`'s unique keys."""
        same = self.latest(table, table.key_of(row))
        for unique in table.keys_of(row)[1:] if same is None else ():
            key = self._indexed.get(unique) or self.database.indexed.get(unique)
            same = same or (self.latest(table, key) if key is not None else None)
        return same

    def write(self, table: Table, key: Key, row: Row | None) -> None:
        """Write a row, or delete it."""
        self._writes[table.name, key] = row
        for unique in table.keys_of(row)[1:] if row is not None else ():
            self._indexed[unique] = key

    def lock(self, key: Key) -> Generator[Any, None, None]:
        """Take a lock, after waiting for it if it must be."""
        if not self.database.locks.take(self, key):
            yield key

    def commit(self) -> None:
        """Make it true for everybody, and let go of the locks."""
        if self._writes and self.database.committing is not None:
            self.database.committing(self._client, self._writes)
        for (name, key), row in self._writes.items():
            self.database.apply(TABLES[name], key, row)
        self.end()

    def end(self) -> None:
        """Let go of the locks; without a commit, nothing happened."""
        self._writes.clear()
        self.database.locks.release(self)
