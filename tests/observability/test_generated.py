"""What is generated is what is committed."""

import re

import pytest

from deploy.observability import declarations, generate

LABELS = {"le", "partition", "code", "reason", "type", "cause", "kind", "to", "result"}


@pytest.mark.parametrize("path", generate.outputs(), ids=lambda path: path.name)
def test_generated_files_are_in_step_with_what_they_are_made_from(path: object) -> None:
    committed = {known: text for known, text in generate.outputs().items() if known == path}
    for known, text in committed.items():
        assert known.read_text(encoding="utf-8") == text, "run python -m deploy.observability.generate"


def test_every_metric_of_ours_has_the_prefix_a_meaning_and_base_units() -> None:
    for registry in declarations.registries().values():
        for family in registry.collect():
            assert family.name.startswith("chat_"), family.name
            assert family.documentation.endswith("."), family.name
            assert not re.search(r"_(ms|milliseconds|minutes|kilobytes|percent)(_|$)", family.name)


def test_no_label_is_open() -> None:
    for registry in declarations.registries().values():
        for family in registry.collect():
            for sample in family.samples:
                assert sample.labels.keys() <= LABELS
