"""What is generated is what is committed."""

from pathlib import Path

import pytest

from deploy.k8s import generate


@pytest.mark.parametrize("path", list(generate.outputs()), ids=lambda path: path.name)
def test_generated_manifests_are_in_step_with_what_they_are_made_from(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.outputs()[path], "run python -m deploy.k8s.generate"
