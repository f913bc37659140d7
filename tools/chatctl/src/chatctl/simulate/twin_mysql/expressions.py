"""Owns the expressions of the twin's SQL: parsed once into functions of a row. Pure.

Only what the worker's statements use is known; anything else is refused by name, never guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Any, Final

from pymysql.constants import ER
from pymysql.err import DataError, ProgrammingError

from chatctl.simulate.twin_mysql.lexer import LITERAL
from chatctl.simulate.twin_mysql.tables import Row


@dataclass(slots=True)
class Scope:
    """What an expression may see."""

    literals: list[Any]
    now_ms: int
    row: Row | None = None
    joined: Row | None = None
    inserting: Row | None = None
    """The row that an INSERT wanted to write: `VALUES(column)`."""
    counted: int = 0
    """Rows of the group: `COUNT(*)`."""
    last_insert_id: int = 0


Expression = Callable[[Scope], Any]
OUT_OF_RANGE: Final = 1690
"""ER_DATA_OUT_OF_RANGE, for which `pymysql` has no name."""
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda a, b: bool(a == b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "<=": lambda a, b: bool(a <= b),
    ">=": lambda a, b: bool(a >= b),
}


class Words:
    """The words of a statement, read from left to right."""

    def __init__(self, shape: tuple[str, ...]) -> None:
        self._words = shape
        self._at = 0
        self._literals = 0
        self.counts = False
        """Whether a COUNT was read: the rows become one."""

    @property
    def next(self) -> str:
        """The next word, in capitals; empty at the end."""
        return self._words[self._at].upper() if self._at < len(self._words) else ""

    def take(self) -> str:
        """Give the next word as it stands, and go on."""
        if self._at >= len(self._words):
            raise self.refused()
        self._at += 1
        return self._words[self._at - 1]

    def accept(self, *words: str) -> bool:
        """Take these words, if they are the next ones."""
        if tuple(word.upper() for word in self._words[self._at : self._at + len(words)]) != words:
            return False
        self._at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Take these words. Raises `ProgrammingError` for others."""
        if not self.accept(*words):
            raise self.refused()

    def literal(self) -> int:
        """Take a literal; gives its place."""
        self.expect(LITERAL)
        self._literals += 1
        return self._literals - 1

    def refused(self) -> ProgrammingError:
        """Say what the twin does not know."""
        near = " ".join(self._words[max(0, self._at - 4) : self._at + 4])
        return ProgrammingError(ER.PARSE_ERROR, f"the twin does not know: {near}")


def expression(words: Words) -> Expression:
    """Parse an expression: OR binds loosest."""
    parts = [_conjunction(words)]
    while words.accept("OR"):
        parts.append(_conjunction(words))
    return parts[0] if len(parts) == 1 else lambda scope: any(part(scope) for part in parts)


def _conjunction(words: Words) -> Expression:
    parts = [_comparison(words)]
    while words.accept("AND"):
        parts.append(_comparison(words))
    return parts[0] if len(parts) == 1 else lambda scope: all(part(scope) for part in parts)


def _comparison(words: Words) -> Expression:
    left = _sum(words)
    if words.accept("IN"):
        choices = _list(words)
        return lambda scope: left(scope) in [choice(scope) for choice in choices]
    if words.next in _COMPARE:
        compare = _COMPARE[words.take()]
        right = _sum(words)
        # NULL compares to nothing.
        return lambda scope: (a := left(scope)) is not None and (b := right(scope)) is not None and compare(a, b)
    return left


def _sum(words: Words) -> Expression:
    total = _product(words)
    while words.next in ("+", "-"):
        total = _added(total, -1 if words.take() == "-" else 1, _product(words))
    return total


def _added(left: Expression, sign: int, right: Expression) -> Expression:
    # MySQL takes a string of digits for a number where it adds.
    return lambda scope: int(left(scope)) + sign * int(right(scope))


def _product(words: Words) -> Expression:
    value = _primary(words)
    while words.next == "*":
        words.take()
        value = _multiplied(value, _primary(words))
    return value


def _multiplied(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) * right(scope)


def _list(words: Words) -> list[Expression]:
    words.expect("(")
    parts = []
    while not words.accept(")"):
        parts.append(expression(words))
        words.accept(",")
    return parts


def _primary(words: Words) -> Expression:
    if words.next == LITERAL:
        at = words.literal()
        return lambda scope: scope.literals[at]
    if words.accept("("):
        words.accept("SELECT")
        inner = expression(words)
        words.expect(")")
        return inner
    if words.accept("NULL"):
        return lambda _: None
    name = words.take()
    if words.next == "(":
        return _call(words, name.upper())
    return _column(name)


def _column(name: str) -> Expression:
    table, _, column = name.rpartition(".")
    if table == "c":
        return lambda scope: scope.joined[column] if scope.joined is not None else None
    return lambda scope: scope.row[column] if scope.row is not None else None


def _call(words: Words, name: str) -> Expression:
    if name == "COUNT":
        words.expect("(", "*", ")")
        words.counts = True
        return lambda scope: scope.counted
    if name == "CAST":
        words.expect("(")
        inner = expression(words)
        words.expect("AS", "SIGNED", ")")
        return lambda scope: round(inner(scope))
    if name == "VALUES":
        words.expect("(")
        column = words.take()
        words.expect(")")
        return lambda scope: scope.inserting[column] if scope.inserting is not None else None
    arguments = _list(words)
    try:
        return _FUNCTIONS[name](arguments)
    except KeyError:
        raise words.refused() from None


def _greatest(parts: list[Expression]) -> Expression:
    return lambda scope: max(part(scope) for part in parts)


def _coalesce(parts: list[Expression]) -> Expression:
    return lambda scope: next((value for part in parts if (value := part(scope)) is not None), None)


def _if(parts: list[Expression]) -> Expression:
    condition, yes, no = parts
    return lambda scope: yes(scope) if condition(scope) else no(scope)


def _exp(parts: list[Expression]) -> Expression:
    def power(scope: Scope) -> float:
        try:
            return exp(parts[0](scope))
        except OverflowError:
            raise DataError(OUT_OF_RANGE, "DOUBLE value is out of range in 'exp'") from None

    return power


def _last_insert_id(parts: list[Expression]) -> Expression:
    if not parts:
        return lambda scope: scope.last_insert_id

    def remember(scope: Scope) -> int:
        scope.last_insert_id = parts[0](scope)
        return scope.last_insert_id

    return remember


_FUNCTIONS: Final[dict[str, Callable[[list[Expression]], Expression]]] = {
    "GREATEST": _greatest,
    "COALESCE": _coalesce,
    "IF": _if,
    "EXP": _exp,
    "LAST_INSERT_ID": _last_insert_id,
    "NOW": lambda _: lambda scope: scope.now_ms / 1000,
    "UNIX_TIMESTAMP": lambda parts: parts[0],
}
