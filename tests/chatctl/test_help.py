"""`--help` says of every option what it is for: a docstring that the parser does not understand says nothing."""

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args

import pytest
from chatctl.app import app
from cyclopts import App, Parameter
from docstring_parser import parse


def commands(parent: App, name: str = "") -> Iterator[Any]:
    inner = [one for one in parent if not one.startswith("-")]
    for one in inner:
        yield from commands(parent[one], f"{name} {one}".strip())
    if not inner:
        yield pytest.param(parent.default_command, id=name)


@pytest.mark.parametrize("command", list(commands(app)))
def test_every_option_is_explained(command: Any) -> None:
    assert list(unexplained(command)) == []


def unexplained(where: Any) -> Iterator[str]:
    """Name the options of a command, or of a class of several, for which there are no words."""
    told = {one.arg_name for one in parse(where.__doc__).params if one.description}
    for one in inspect.signature(where, eval_str=True).parameters.values():
        if is_dataclass(one.annotation):
            yield from unexplained(one.annotation)
        elif one.kind is one.KEYWORD_ONLY and one.name not in told:
            own = [part.help for part in get_args(one.annotation) if isinstance(part, Parameter)]
            if not any(own):
                yield one.name
