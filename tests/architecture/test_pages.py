"""What the pages for people name is there: metrics, variables, commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from chatctl.app import app
from delivery_worker import grants
from delivery_worker.settings import WorkerSettings
from gateway.settings import GatewaySettings
from presence.settings import PresenceSettings

from deploy.observability import declarations

ROOT: Final = Path(__file__).parents[2]
SUFFIX: Final = re.compile(r"_(?:bucket|sum|count|total)$")
SCRIPTED: Final = {"setup", "test", "packages"}
"""What `./dev` does itself; it hands everything else on to `chatctl`."""


def pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder in ("docs", "deploy"):
        yield from sorted((ROOT / folder).rglob("*.md"))


of_each_page = pytest.mark.parametrize("page", list(pages()), ids=lambda page: str(page.relative_to(ROOT)))


def words(page: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, page.read_text(encoding="utf-8")))


@of_each_page
def test_a_metric_that_a_page_names_is_exposed(page: Path) -> None:
    exposed = {SUFFIX.sub("", name) for name in declarations.series()} | set(grants.ACCOUNTS.values())
    assert [name for name in words(page, r"\bchat_[a-z0-9_]+\b") if SUFFIX.sub("", name) not in exposed] == []


@of_each_page
def test_a_variable_that_a_page_names_is_read_by_a_service(page: Path) -> None:
    kinds = (GatewaySettings, PresenceSettings, WorkerSettings)
    read = {f"CHAT_{field.upper()}" for kind in kinds for field in kind.model_fields}
    assert words(page, r"\bCHAT_(?!TEST_)[A-Z0-9_]*[A-Z0-9]\b(?!…)") - read - {"CHAT_MYSQL"} == set()


@of_each_page
def test_a_command_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in words(page, r"(?:chatctl|\./dev) ([a-z][a-z-]*)") if name not in (*app, *SCRIPTED)] == []
