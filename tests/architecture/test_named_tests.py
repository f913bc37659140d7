"""The pages on verification name tests; those exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)`: `(test_\w+)`")


def test_every_test_that_the_page_on_verification_names_exists() -> None:
    named = NAMED.findall((ROOT / "docs" / "verification.md").read_text())
    assert len(named) >= 9
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text()] == []
