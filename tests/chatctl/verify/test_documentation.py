"""The page on verification names what is checked."""

from pathlib import Path

from chatctl.verify.properties import PROPERTIES

PAGE = Path(__file__).parents[3] / "docs" / "verification.md"


def test_the_page_names_every_property_with_its_own_words() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [one.name for one in PROPERTIES if f"| `{one.name}` | {one.says}" not in page] == []
