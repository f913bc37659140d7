"""What the images ask of themselves: one that is well says so, and so does one that is not."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest
from chatcore.health import HealthServer
from prometheus_client import CollectorRegistry


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a service that lives and is not ready."""
    server = HealthServer(host="127.0.0.1", port=0, registry=CollectorRegistry(), readiness=lambda: "no Redis")
    yield await server.start()
    await server.stop()


async def _asked(path: str, **variables: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatcore.healthcheck", path),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_service_that_answers_200_is_healthy_wherever_it_listens(port: int) -> None:
    for host in ("0.0.0.0", "127.0.0.1", ""):
        assert await _asked("/healthz", CHAT_METRICS_PORT=str(port), CHAT_METRICS_HOST=host) == (0, "HTTP/1.1 200 OK\n")


async def test_any_other_answer_is_unhealthy(port: int) -> None:
    code, said = await _asked("/readyz", CHAT_METRICS_PORT=str(port))
    assert code == 1
    assert "503" in said


async def test_no_answer_is_unhealthy_and_says_why() -> None:
    code, said = await _asked("/healthz", CHAT_METRICS_PORT="1")
    assert code == 1
    assert said.startswith("no answer: ")
