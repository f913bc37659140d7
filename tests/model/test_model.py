"""Holds the model of docs/model to its verdicts: the design keeps its promises, and each crippled form breaks one.

A few configurations run every time, the rest with `--all`.
"""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from docs.model.check import HERE, HOLDS, Configuration, check, configurations
from tests.harness.programs import program

ALL: Final = list(configurations())


def _cases() -> Iterator[object]:
    for configuration in ALL:
        yield pytest.param(
            configuration, id=configuration.name, marks=[] if configuration.quick else [pytest.mark.slow]
        )


@pytest.mark.parametrize("configuration", list(_cases()))
def test_tlc_comes_to_the_expected_verdict(configuration: Configuration) -> None:
    program("java", "default-jre-headless")
    result = check(configuration)
    assert result.verdict == configuration.expected, result.output[-4_000:]


def test_every_constant_that_stands_for_a_rule_is_taken_away_once() -> None:
    for module in {one.module for one in ALL}:
        mine = [one for one in ALL if one.module == module]
        declared = re.search(r"take away:(.*?)\n\nVARIABLES", (HERE / f"{module}.tla").read_text(), re.DOTALL)
        assert declared is not None, module
        for rule in re.findall(r"^ +(\w+),? +\\\*", declared[1], re.MULTILINE):
            assert len({one.constants[rule] for one in mine}) > 1, f"{module}: {rule} is never taken away"


def test_the_table_of_results_names_every_configuration_with_its_verdict() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| .* \| (holds|\*\*\w+\*\*)", (HERE / "RESULTS.md").read_text(), re.MULTILINE)
    assert {name: verdict.strip("*") for name, verdict in rows} == {one.name: one.breaks or HOLDS for one in ALL}
