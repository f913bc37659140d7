"""A private Redis for the gateway's tests, a scripted worker on it, and gateways in the test's own process."""

import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from chatcore.keys import Keys
from chatcore.lifecycle import Supervisor
from gateway.app import GatewayApp
from gateway.settings import GatewaySettings
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.gateway.client import SECRET
from tests.gateway.waiting import until
from tests.gateway.worker import Worker

MakeGateway = Callable[..., Awaitable[GatewayApp]]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def gateway_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis for these tests alone: they empty it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is not installed: ./dev installs it")
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    with (Path(folder) / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def redis(gateway_redis: str) -> AsyncIterator[Any]:
    """An empty Redis."""
    client = Redis.from_url(gateway_redis, protocol=2, socket_timeout=None)
    await until(lambda: _answers(client))
    await client.flushall()
    yield client
    await client.aclose()


async def _answers(client: Any) -> bool:
    try:
        return bool(await client.ping())
    except (OSError, RedisConnectionError):
        return False


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
            values = {"jwt_secret": SECRET, "shutdown_s": 4.0, "port": 0, "name": "gateway-1", **settings}
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
