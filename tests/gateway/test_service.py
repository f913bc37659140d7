"""The gateway as a process of its own: how it starts, is told what is wrong, and stops."""

import asyncio
from typing import Any

import pytest
from chatcore.errors import Close
from chatcore.keys import Keys
from chatctl.deployment import Deployment
from chatctl.failure import Failure
from chatctl.operations import leaving
from delivery_worker.settings import MySQLSettings

from tests.gateway.client import connect
from tests.gateway.conftest import Start
from tests.gateway.worker import Worker
from tests.harness.system import free_port


async def test_sigterm_drains_and_ends_with_0(start: Start, worker: Worker, redis: Any) -> None:
    port = free_port()
    process = await start(CHAT_PORT=str(port), CHAT_SHUTDOWN_S="8")
    client = await connect(port, "alice")
    try:
        process.terminate()
        await client.until("goaway")
        await client.send(type="send", id="c1", to="bob", body="x")
        assert (await client.until("sent"))["id"] == "c1"
        assert await client.closed() == Close.DRAINING
    finally:
        await client.__aexit__(None, None, None)
    async with asyncio.timeout(10):
        _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    assert await redis.keys(f"{worker.prefix}:devices:*") == []
    assert await redis.keys(f"{worker.prefix}:gateway:*") == []


async def test_a_gateway_that_is_asked_to_leave_goes_as_after_sigterm(
    start: Start, worker: Worker, gateway_redis: str
) -> None:
    port = free_port()
    process = await start(CHAT_NAME="g-7", CHAT_PORT=str(port), CHAT_SHUTDOWN_S="8")
    client = await connect(port, "alice")
    keys, mysql = Keys(worker.prefix), MySQLSettings.model_construct()
    where = Deployment(redis_url=gateway_redis, keys=keys, mysql=mysql, folder=None)
    with pytest.raises(Failure, match=r"no gateway is called g-8; those that live: g-7\."):
        await leaving.drain(where, "g-8", within_s=1.0)
    try:
        asking = asyncio.create_task(leaving.drain(where, "g-7", within_s=20.0))
        assert (await client.until("goaway"))["reason"] == "draining"
        assert await client.closed() == Close.DRAINING
        assert (await asking).gateway.startswith("g-7.")
    finally:
        await client.__aexit__(None, None, None)
    async with asyncio.timeout(10):
        _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    assert b"asked_to_leave" in log


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"CHAT_JWT_SECRET": ""}, "CHAT_JWT_SECRET"),
        ({"CHAT_JWT_SECRET": "short"}, "CHAT_JWT_SECRET"),
        ({"CHAT_PORT": "x"}, "CHAT_PORT"),
        ({"CHAT_HOST": "192.0.2.1"}, "192.0.2.1"),
        ({"CHAT_SHUTDOWN_S": "8", "CHAT_PRESTOP_S": "3"}, "CHAT_PRESTOP_S"),
        ({"CHAT_JWKS_FILE": "a", "CHAT_JWKS_URL": "b"}, "CHAT_JWKS_FILE"),
    ],
)
async def test_a_configuration_at_fault_is_named_and_ends_with_2(
    start: Start, variables: dict[str, str], named: str
) -> None:
    process = await start(**variables)
    async with asyncio.timeout(20):
        _, log = await process.communicate()
    assert process.returncode == 2
    assert [line for line in log.decode().splitlines() if line.startswith("gateway: ") and named in line]
