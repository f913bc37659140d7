"""Owns how a packet of SQL becomes statements: their shape without the literals, and the literals. Pure.

What is parsed is the shape, once for all the statements that have it; so is the text between two literals.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pymysql.constants import ER
from pymysql.err import ProgrammingError

_LITERAL: Final = re.compile(r"\b(x'[0-9a-f]*'|\d+)|('[^'\\]*(?:(?:\\.|'')[^'\\]*)*')", re.DOTALL)
_WORD: Final = re.compile(r"\s*(?:([A-Za-z_][\w.]*)|(<=|>=|[=<>(),;*+\-]))")
_ESCAPE: Final = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPED: Final = {"0": "\0", "n": "\n", "r": "\r", "Z": "\x1a", "t": "\t", "b": "\b"}
LITERAL: Final = "?"
END: Final = ";"
TEXTS: Final = 4_096
"""Texts between literals that are remembered; the worker has some dozens."""


class Statement(NamedTuple):
    """A statement's words, with `?` for each literal, and the literals in their order."""

    shape: tuple[str, ...]
    literals: list[Any]


def statements_of(sql: str) -> list[Statement]:
    """Read a packet. Raises `ProgrammingError`."""
    statements: list[Statement] = []
    words: list[str] = []
    literals: list[Any] = []
    parts: list[Any] = [None, None, *_LITERAL.split(sql)]
    for plain, quote, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if plain or quote:
            words.append(LITERAL)
            literals.append(_quoted(quote) if quote else _plain(plain))
        [first, *others] = _words(text)
        words += first
        for more in others:
            statements.append(Statement(tuple(words), literals))
            words, literals = list(more), []
    statements.append(Statement(tuple(words), literals))
    return [statement for statement in statements if statement.shape]


@lru_cache(maxsize=TEXTS)
def _words(text: str) -> tuple[tuple[str, ...], ...]:
    """Read a text without literals: the words of each statement that it has part in. Raises `ProgrammingError`."""
    found: list[list[str]] = [[]]
    at = 0
    while match := _WORD.match(text, at):
        at = match.end()
        if match[0].endswith(END):
            found.append([])
        else:
            found[-1].append(match[1] or match[2])
    if text[at:].strip():
        raise ProgrammingError(ER.PARSE_ERROR, f"the twin cannot read {text[at : at + 60]!r}")
    return tuple(tuple(words) for words in found)


def _plain(literal: str) -> int | bytes:
    return bytes.fromhex(literal[2:-1]) if literal[0] == "x" else int(literal)


def _quoted(literal: str) -> str:
    inner = literal[1:-1]
    if "\\" not in inner and "''" not in inner:
        return inner
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]) if m[1] is not None else "'", inner)
