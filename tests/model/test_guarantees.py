"""Holds docs/guarantees.md to what it names: properties of the judge, tests, and properties and forms of the model."""

import re
from typing import Final

from chatctl.verify.properties import PROPERTIES

from docs.model.check import HERE, configurations

PAGE: Final = HERE.parent / "guarantees.md"
TEXT: Final = PAGE.read_text()


def test_every_promise_has_its_reasons_and_what_is_not_promised() -> None:
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    promises = [section for section in sections if re.match(r"G\d+ ", section)]
    assert [section.split()[0] for section in promises] == [f"G{number}" for number in range(1, 12)]
    for section in promises:
        assert "Judge: `" in section, section.split("\n")[0]
        assert "- Not promised: " in section, section.split("\n")[0]


def test_every_property_of_the_judge_stands_under_a_promise() -> None:
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert {one.check.__name__ for one in PROPERTIES} <= named


def test_what_the_page_names_is_there() -> None:
    for path in re.findall(r"\]\((\.\./[^)#]+|[^):#]+\.md)", TEXT):
        assert (PAGE.parent / path).exists(), path
    modules = "".join((HERE / f"{one}.tla").read_text() for one in {c.module for c in configurations()})
    known = {one.check.__name__ for one in PROPERTIES} | {one.name for one in configurations()}
    for name in re.findall(r"`([\w-]+)`", " ".join(re.findall(r"(?:Model|Judge): .*?(?=\n- |\n\n)", TEXT, re.DOTALL))):
        assert name in known or f"\n{name} ==" in modules, name
