"""Owns how a command tells its findings: a table for people, or JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON document for programs, not words.")]
"""The option of every command that looks or acts: an array, an object for each thing that was found or done, or the one
object that there is."""

WIDE = 10_000
"""Columns of an output that is no terminal: a line that a program reads is not broken."""


def tell(rows: Sequence[Any], *, as_json: bool, none: str) -> None:
    """Print dataclasses of one kind, a row each; `none` is said where there are none."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    elif not rows:
        print(none)
    else:
        _print_table(rows)


def tell_one(thing: Any, *, as_json: bool, text: str) -> None:
    """Print one dataclass as JSON, or the words that stand for it."""
    print(json.dumps(asdict(thing), indent=2, ensure_ascii=False) if as_json else text)


def _print_table(rows: Sequence[Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = [field.name for field in fields(rows[0])]
    for name in names:
        numeric = all(isinstance(getattr(row, name), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*[Text(_cell(getattr(row, name))) for name in names])
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)
