"""Owns the statements of the twin's SQL: parsed once into functions that run them in a transaction.

Only what the worker sends is known; anything else is refused by name, never guessed.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from pymysql.constants import ER
from pymysql.err import IntegrityError

from chatctl.simulate.twin_mysql.expressions import Expression, Scope, Words, expression
from chatctl.simulate.twin_mysql.tables import TABLES, Row, Table
from chatctl.simulate.twin_mysql.transactions import PRIMARY, Rows, Running, Transaction

Assignments = list[tuple[str, Expression]]


@dataclass(slots=True)
class Prepared:
    """A statement of one shape."""

    verb: str
    run: Callable[[Transaction, Scope], Running] | None = None
    """None for a verb that the session itself obeys."""
    writes: bool = False


@dataclass(slots=True)
class _Select:
    items: list[Expression]
    table: Table | None = None
    joined: Table | None = None
    on: Expression | None = None
    where: Expression | None = None
    grouped: str | None = None
    order: list[tuple[Expression, bool]] = field(default_factory=list)
    limit: Expression | None = None
    locking: bool = False
    skipping: bool = False
    counting: bool = False
    """One row, whatever there is."""


@lru_cache(maxsize=4096)
def prepared(shape: tuple[str, ...]) -> Prepared:
    """Parse a statement. Raises `ProgrammingError`."""
    words = Words(shape)
    verb = words.take().upper()
    parse = _VERBS.get(verb)
    if parse is not None:
        made = parse(words)
    elif verb == "START":
        words.expect("TRANSACTION", "WITH", "CONSISTENT", "SNAPSHOT", ",", "READ", "ONLY")
        return Prepared("SNAPSHOT")
    elif verb in ("BEGIN", "COMMIT", "ROLLBACK", "SET", "DO"):
        return Prepared(verb)
    else:
        raise words.refused()
    if words.next:
        raise words.refused()
    return made


def _select(words: Words) -> Prepared:
    select = _selection(words)
    if select.table is None:
        return Prepared("SELECT", lambda _, scope: _constant(select, scope))
    if words.next == "UNION":
        return _union(words, select)
    run = _locking if select.locking else _plain
    return Prepared("SELECT", lambda transaction, scope: run(select, transaction, scope))


def _union(words: Words, first: _Select) -> Prepared:
    selects = [first]
    while words.accept("UNION", "ALL"):
        words.expect("SELECT")
        selects.append(_selection(words))
    return Prepared("SELECT", lambda transaction, scope: _all_of(selects, transaction, scope))


def _all_of(selects: list[_Select], transaction: Transaction, scope: Scope) -> Running:
    found: list[Any] = []
    for select in selects:
        found += yield from _plain(select, transaction, scope)
    return tuple(found)


def _selection(words: Words) -> _Select:
    select = _Select([expression(words)])
    while words.accept(","):
        select.items.append(expression(words))
    select.counting = words.counts
    if not words.accept("FROM"):
        return select
    select.table = _table(words)
    if words.next not in ("", "WHERE", "ORDER", "LEFT", "FOR", "LIMIT", "GROUP", "ON", ")"):
        words.take()  # an alias
    if words.accept("LEFT", "JOIN"):
        select.joined = _table(words)
        words.take()
        words.expect("ON")
        select.on = expression(words)
    _clauses(words, select)
    return select


def _clauses(words: Words, select: _Select) -> None:
    if words.accept("WHERE"):
        select.where = expression(words)
    if words.accept("GROUP", "BY"):
        select.grouped = words.take()
    if words.accept("ORDER", "BY"):
        select.order.append(_ordering(words))
        while words.accept(","):
            select.order.append(_ordering(words))
    if words.accept("LIMIT"):
        select.limit = expression(words)
    if words.accept("FOR", "UPDATE"):
        select.locking, select.skipping = True, words.accept("SKIP", "LOCKED")


def _ordering(words: Words) -> tuple[Expression, bool]:
    key = expression(words)
    descending = words.accept("DESC")
    words.accept("ASC")
    return key, descending


def _table(words: Words) -> Table:
    name = words.take()
    if name not in TABLES:
        raise words.refused()
    return TABLES[name]


def _constant(select: _Select, scope: Scope) -> Running:
    yield from ()
    return (tuple([item(scope) for item in select.items]),)


def _plain(select: _Select, transaction: Transaction, scope: Scope) -> Running:
    yield from ()
    table = select.table
    assert table is not None  # noqa: S101 - the parser made it so
    found = []
    for row in sorted(transaction.visible(table), key=table.key_of):
        scope.row = row
        scope.joined = _joined(select, transaction, scope)
        if select.where is None or select.where(scope):
            found.append((row, scope.joined))
    return _rows(select, _grouped(select, found), scope)


def _joined(select: _Select, transaction: Transaction, scope: Scope) -> Row | None:
    if select.joined is None or select.on is None:
        return None
    for scope.joined in transaction.visible(select.joined):
        if select.on(scope):
            return scope.joined
    return None


def _grouped(select: _Select, found: list[tuple[Row, Row | None]]) -> list[tuple[Row, Row | None, int]]:
    if select.grouped is None:
        return [(row, joined, len(found)) for row, joined in found]
    groups: dict[Any, list[Row]] = {}
    for row, _ in found:
        groups.setdefault(row[select.grouped], []).append(row)
    return [(rows[0], None, len(rows)) for rows in groups.values()]


def _rows(select: _Select, found: list[tuple[Row, Row | None, int]], scope: Scope) -> Rows:
    def in_scope(entry: tuple[Row, Row | None, int], item: Expression) -> Any:
        scope.row, scope.joined, scope.counted = entry
        return item(scope)

    for key, descending in reversed(select.order):
        found.sort(key=lambda entry, k=key: in_scope(entry, k), reverse=descending)  # type: ignore[misc]  # mypy cannot infer it
    if select.limit is not None:
        del found[select.limit(scope) :]
    if select.counting and select.grouped is None:
        return (tuple([in_scope(({}, None, len(found)), item) for item in select.items]),)
    return tuple([tuple([in_scope(entry, item) for item in select.items]) for entry in found])


def _locking(select: _Select, transaction: Transaction, scope: Scope) -> Running:
    table, where = select.table, select.where
    assert table is not None  # noqa: S101 - the parser made it so
    found: list[tuple[Row, Row | None, int]] = []
    for seen in sorted(transaction.visible(table), key=table.key_of):
        scope.row = seen
        if where is not None and not where(scope):
            continue
        row = yield from _locked(transaction, table, seen, skipping=select.skipping)
        scope.row = row
        if row is not None and (where is None or where(scope)):
            found.append((row, None, 0))
    return _rows(select, found, scope)


def _locked(
    transaction: Transaction, table: Table, row: Row, *, skipping: bool = False
) -> Generator[Any, None, Row | None]:
    """Lock a row; gives it as it stands then, None for one that is gone or, `skipping`, somebody else's."""
    key = table.keys_of(row)[PRIMARY]
    if skipping and not transaction.database.locks.is_free(transaction, key):
        return None
    yield from transaction.lock(key)
    return transaction.latest(table, table.key_of(row))


def _insert(words: Words) -> Prepared:
    words.expect("INTO")
    table = _table(words)
    words.expect("(")
    columns = [words.take()]
    while words.accept(","):
        columns.append(words.take())
    words.expect(")")
    if words.accept("SELECT"):
        selected = _selection(words)
        return Prepared("INSERT", lambda t, scope: _insert_selected(table, columns, selected, t, scope), writes=True)
    words.expect("VALUES")
    rows = [_values(words)]
    while words.accept(","):
        rows.append(_values(words))
    rises = _assignments(words) if words.accept("ON", "DUPLICATE", "KEY", "UPDATE") else None
    return Prepared("INSERT", lambda t, scope: _insert_rows(table, columns, rows, rises, t, scope), writes=True)


def _values(words: Words) -> list[Expression]:
    words.expect("(")
    values = [expression(words)]
    while words.accept(","):
        values.append(expression(words))
    words.expect(")")
    return values


def _assignments(words: Words) -> Assignments:
    made: Assignments = []
    while not made or words.accept(","):
        column = words.take()
        words.expect("=")
        made.append((column, expression(words)))
    return made


def _insert_rows(
    table: Table,
    columns: list[str],
    rows: list[list[Expression]],
    rises: Assignments | None,
    transaction: Transaction,
    scope: Scope,
) -> Running:
    for values in rows:
        given = {column: value(scope) for column, value in zip(columns, values, strict=True)}
        yield from _put(table, given, rises, transaction, scope)
    return ()


def _insert_selected(
    table: Table, columns: list[str], select: _Select, transaction: Transaction, scope: Scope
) -> Running:
    for found in (yield from _plain(select, transaction, scope)):
        yield from _put(table, dict(zip(columns, found, strict=True)), None, transaction, scope)
    return ()


def _put(
    table: Table, given: Row, rises: Assignments | None, transaction: Transaction, scope: Scope
) -> Generator[Any, None, None]:
    """Insert a row, or update the one that has its key. Raises `IntegrityError`, `DataError`."""
    row: Row = {**dict.fromkeys(table.columns), **given}
    table.check(row)
    for key in table.keys_of(row):
        yield from transaction.lock(key)
    old = transaction.taken_by(table, row)
    if old is None:
        transaction.write(table, table.key_of(row), row)
        return
    if rises is None:
        raise IntegrityError(ER.DUP_ENTRY, f"Duplicate entry '{table.key_of(row)}' for key '{table.name}'")
    yield from transaction.lock(table.keys_of(old)[PRIMARY])
    scope.inserting = row
    transaction.write(table, table.key_of(old), _assigned(table, old, rises, scope))


def _assigned(table: Table, old: Row, assignments: Assignments, scope: Scope) -> Row:
    row = dict(old)
    scope.row = row  # from left to right, each sees what the ones before it set
    for column, value in assignments:
        row[column] = table.stored(column, value(scope))
    table.check(row)
    return row


def _update(words: Words) -> Prepared:
    table = _table(words)
    words.expect("SET")
    assignments = _assignments(words)
    words.expect("WHERE")
    where = expression(words)
    change: Callable[[Row, Scope], Row | None] = lambda row, scope: _assigned(table, row, assignments, scope)  # noqa: E731 - one of two
    return Prepared("UPDATE", lambda t, scope: _change(table, where, change, t, scope), writes=True)


def _delete(words: Words) -> Prepared:
    words.expect("FROM")
    table = _table(words)
    words.expect("WHERE")
    where = expression(words)
    return Prepared("DELETE", lambda t, scope: _change(table, where, lambda *_: None, t, scope), writes=True)


def _change(
    table: Table,
    where: Expression,
    change: Callable[[Row, Scope], Row | None],
    transaction: Transaction,
    scope: Scope,
) -> Running:
    for seen in sorted(transaction.visible(table), key=table.key_of):
        scope.row = seen
        if not where(scope):
            continue
        row = yield from _locked(transaction, table, seen)
        scope.row = row
        if row is not None and where(scope):
            transaction.write(table, table.key_of(row), change(row, scope))
    return ()


_VERBS: Final[dict[str, Callable[[Words], Prepared]]] = {
    "SELECT": _select,
    "INSERT": _insert,
    "UPDATE": _update,
    "DELETE": _delete,
}
