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
        self.leaving = False
        self.server = HealthServer(
            host="127.0.0.1",
            port=0,
            registry=self.registry,
            readiness=lambda: self.reason,
            leaving=lambda: self.leaving,
        )


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


async def test_what_all_replicas_share_is_excused_once_it_was_there(lacking: Lacking) -> None:
    port, path = await lacking.server.start(), "/readyz?exclude=shared"
    lacking.reason = "no Redis"
    assert await get(port, path) == (503, "no Redis\n"), "one that never was ready may be at fault itself"
    lacking.reason = None
    assert await get(port, path) == (200, "ready\n")
    lacking.reason = "no Redis"
    assert await get(port, path) == (200, "no Redis\n"), "still served, and it says why"
    assert await get(port, "/readyz") == (503, "no Redis\n")
    assert await get(port, "/readyz?exclude=all") == (503, "no Redis\n")


async def test_a_process_that_leaves_is_never_excused(lacking: Lacking) -> None:
    port, path = await lacking.server.start(), "/readyz?exclude=shared"
    assert (await get(port, path))[0] == 200
    lacking.reason, lacking.leaving = "draining", True
    assert await get(port, path) == (503, "draining\n")


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
