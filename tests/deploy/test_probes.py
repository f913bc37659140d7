"""The paths of the probes are asked of a server of health that really listens."""

from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import pytest
from chatcore.health import HealthServer
from prometheus_client import CollectorRegistry

from tests.deploy.conftest import overlay

PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


class Life:
    """What a service may say of itself."""

    def __init__(self) -> None:
        self.missing: str | None = None
        self.leaving = False
        self.url = ""

    async def status(self, path: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    one = Life()
    server = HealthServer(
        host="127.0.0.1",
        port=0,
        registry=CollectorRegistry(),
        readiness=lambda: one.missing,
        leaving=lambda: one.leaving,
    )
    one.url = f"http://127.0.0.1:{await server.start()}"
    yield one
    await server.stop()


def paths(kind: str) -> set[str]:
    return {container.body[kind]["httpGet"]["path"] for container in overlay("prod").services()}


async def test_every_probe_asks_a_path_that_is_served(life: Life) -> None:
    asked = {path for kind in PROBES for path in paths(kind)} | {
        endpoint["path"] for one in overlay("prod").of("PodMonitor") for endpoint in one["spec"]["podMetricsEndpoints"]
    }
    assert {path: await life.status(path) for path in asked} == dict.fromkeys(asked, 200)
    assert await life.status("/health") == 404


async def test_a_shared_dependency_that_fails_neither_restarts_a_pod_nor_takes_it_from_its_service(life: Life) -> None:
    assert {await life.status(path) for path in paths("readinessProbe")} == {200}
    life.missing = "redis"
    assert {await life.status(path) for kind in PROBES for path in paths(kind)} == {200}


async def test_a_pod_that_never_had_what_it_needs_is_not_ready_and_lives(life: Life) -> None:
    life.missing = "redis"
    assert {await life.status(path) for path in paths("readinessProbe")} == {503}
    assert {await life.status(path) for path in paths("livenessProbe")} == {200}


async def test_a_pod_that_ends_is_not_ready_and_lives(life: Life) -> None:
    assert {await life.status(path) for path in paths("readinessProbe")} == {200}
    life.missing, life.leaving = "draining", True
    assert {await life.status(path) for path in paths("readinessProbe")} == {503}
    assert {await life.status(path) for path in paths("livenessProbe")} == {200}
