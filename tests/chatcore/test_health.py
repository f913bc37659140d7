"""The port of health: alive without its dependencies, ready only with them."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from chatcore.errors import ConfigurationError
from chatcore.health import HealthServer
from prometheus_client import CollectorRegistry, Counter


class Lacking:
    """What a service lacks."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.registry = CollectorRegistry()
        Counter("chat_things", "Things", registry=self.registry).inc(3)
        self.server = HealthServer(host="127.0.0.1", port=0, registry=self.registry, readiness=lambda: self.reason)


@pytest.fixture
async def lacking() -> AsyncIterator[Lacking]:
    one = Lacking()
    yield one
    await one.server.stop()


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_readiness_names_what_is_missing_and_liveness_does_not_care(lacking: Lacking) -> None:
    port = await lacking.server.start()
    assert await get(port, "/readyz") == (200, "ready\n")
    lacking.reason = "no Redis"
    assert await get(port, "/readyz") == (503, "no Redis\n")
    assert await get(port, "/healthz") == (200, "ok\n")


async def test_metrics_are_those_of_the_services_own_registry(lacking: Lacking) -> None:
    status, text = await get(await lacking.server.start(), "/metrics")
    assert status == 200
    assert "chat_things_total 3.0" in text


async def test_a_port_that_is_taken_is_a_fault_of_the_configuration(lacking: Lacking) -> None:
    port = await lacking.server.start()
    other = HealthServer(host="127.0.0.1", port=port, registry=lacking.registry, readiness=lambda: None)
    with pytest.raises(ConfigurationError, match=str(port)):
        await other.start()
    await other.stop()


async def test_stopping_may_be_repeated_and_frees_the_port(lacking: Lacking) -> None:
    port = await lacking.server.start()
    await lacking.server.stop()
    await lacking.server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(port, "/healthz")
