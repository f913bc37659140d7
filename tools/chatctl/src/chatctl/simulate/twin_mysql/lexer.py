"""Owns how a packet of SQL becomes statements: their shape without the literals, and the literals. Pure.

What is parsed is the shape, once for all the statements that have it.
"""

import re
from typing import Any, Final, NamedTuple

from pymysql.constants import ER
from pymysql.err import ProgrammingError

_TOKEN: Final = re.compile(
    r"\s*(?:(x'[0-9a-f]*')|('(?:[^'\\]|\\.|'')*')|(\d+)|([A-Za-z_][\w.]*)|(<=|>=|[=<>(),;*+\-]))", re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPED: Final = {"0": "\0", "n": "\n", "r": "\r", "Z": "\x1a", "t": "\t", "b": "\b"}
LITERAL: Final = "?"


class Statement(NamedTuple):
    """A statement's words, with `?` for each literal, and the literals in their order."""

    shape: tuple[str, ...]
    literals: list[Any]


def statements_of(sql: str) -> list[Statement]:
    """Read a packet. Raises `ProgrammingError`."""
    statements: list[Statement] = []
    words: list[str] = []
    literals: list[Any] = []
    at = 0
    for match in _TOKEN.finditer(sql):
        if match.start() != at:
            break
        at = match.end()
        binary, text, integer, name, sign = match.groups()
        if name is not None:
            words.append(name)
        elif sign == ";":
            statements.append(Statement(tuple(words), literals))
            words, literals = [], []
        elif sign is not None:
            words.append(sign)
        else:
            words.append(LITERAL)
            literals.append(_literal(binary, text, integer))
    if sql[at:].strip():
        raise ProgrammingError(ER.PARSE_ERROR, f"the twin cannot read {sql[at : at + 60]!r}")
    statements.append(Statement(tuple(words), literals))
    return [statement for statement in statements if statement.shape]


def _literal(binary: str | None, text: str | None, integer: str) -> Any:
    if binary is not None:
        return bytes.fromhex(binary[2:-1])
    if text is None:
        return int(integer)
    inner = text[1:-1]
    if "\\" not in inner and "''" not in inner:
        return inner
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]) if m[1] is not None else "'", inner)
