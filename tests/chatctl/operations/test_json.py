"""Every command of the night tells programs as much as people."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from chatctl.app import app
from chatctl.deployment import Dir
from chatctl.printing import Json

TEXT_ITSELF = {"acl", "grants", "asyncapi", "token", "logs"}
"""What these print is a document, a word or a log already."""
LOCAL = {"up", "down", "chat", "bench", "simulate", "verify"}
"""A developer's own: `bench` and `verify` leave reports in JSON."""


def commands() -> Iterator[Any]:
    for name in app:
        if name not in TEXT_ITSELF | LOCAL and not name.startswith("-"):
            inner = [one for one in app[name] if not one.startswith("-")]
            yield from (pytest.param(app[name][one], id=f"{name} {one}") for one in inner)
            if not inner:
                yield pytest.param(app[name], id=name)


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_that_looks_or_acts_takes_json_and_the_folder_of_a_stack(command: Any) -> None:
    parameters = inspect.signature(command.default_command, eval_str=True).parameters
    assert parameters["json"].annotation == Json
    assert parameters["dir"].annotation == Dir
