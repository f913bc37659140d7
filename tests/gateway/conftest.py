"""A private Redis for the gateway's tests, a scripted worker on it, and gateways in the test's own process."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from chatcore.keys import Keys
from chatcore.lifecycle import Supervisor
from gateway.app import GatewayApp
from gateway.settings import GatewaySettings
from redis.asyncio import Redis

from tests.gateway.client import SECRET
from tests.gateway.worker import Worker
from tests.harness.servers import REDIS_PASSWORD, running_redis

MakeGateway = Callable[..., Awaitable[GatewayApp]]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture(scope="session")
async def gateway_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Redis for these tests alone: they empty it."""
    async with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def redis(gateway_redis: str) -> AsyncIterator[Any]:
    """An empty Redis."""
    client = Redis.from_url(gateway_redis, protocol=2, socket_timeout=None)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def keys() -> Keys:
    return Keys(f"t{secrets.token_hex(4)}")


@pytest.fixture
async def worker(redis: Any, keys: Keys) -> AsyncIterator[Worker]:
    """A worker that admits and answers everybody."""
    one = Worker(redis, keys)
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def make_gateway(gateway_redis: str, keys: Keys, worker: Worker) -> AsyncIterator[MakeGateway]:
    """Make ready gateways with given settings; they are shut down in their own order."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> GatewayApp:
            values = {"jwt_secret": SECRET, "shutdown_s": 6.0, "port": 0, "name": "gateway-1", **settings}
            values |= {"redis_user": "gateway", "redis_password": REDIS_PASSWORD}
            app = GatewayApp(GatewaySettings(redis_url=gateway_redis, key_prefix=keys.prefix, **values))
            supervisor = Supervisor()

            async def stop() -> None:
                supervisor.close()
                for step in app.shutdown():
                    await step.run()

            stack.push_async_callback(stop)
            await app.start(supervisor)
            await worker.until(lambda: app.watch.missing() is None)
            return app

        yield make


@pytest.fixture(autouse=True)
def _leave_the_collector_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freezing and raised thresholds are for a process of its own."""
    monkeypatch.setattr("chatcore.vitals.Vitals.settle", lambda _: None)


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> GatewayApp:
    return await make_gateway()


@pytest.fixture
def url(gateway: GatewayApp) -> str:
    return f"http://127.0.0.1:{gateway.port}/v1/ws"


@pytest.fixture
async def start(gateway_redis: str, worker: Worker) -> AsyncIterator[Start]:
    """Start gateways with given variables; those that still live are killed."""
    started: list[asyncio.subprocess.Process] = []

    async def run(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
        values = {"CHAT_REDIS_URL": gateway_redis, "CHAT_KEY_PREFIX": worker.prefix, "CHAT_JWT_SECRET": SECRET}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", *arguments),
            env={**kept, **values, **variables},
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()
