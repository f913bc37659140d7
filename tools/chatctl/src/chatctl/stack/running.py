"""A running stack as its tools see it: its processes, its stores' doors, its metrics. It starts and stops nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiomysql
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from chatctl.stack import mysql_server, redis_server, stack_file
from chatctl.stack.stack_file import ProcessEntry, StackFile
from chatctl.tokens import sign

LOOK_S = 2.0
"""Seconds for one look at whether a service is ready."""


class RunningStack:
    """The stack that runs in a folder, driven through its `stack.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> StackFile:
        """`stack.json` as it is now."""
        return stack_file.read_running(self.folder)

    def processes(self) -> Sequence[ProcessEntry]:
        """Read the processes as they are now."""
        return self.file.processes

    def gateways(self) -> list[str]:
        """Return the gateways' WebSocket base URLs."""
        return self.file.gateway_urls()

    def token(self, user: str, device: str | None = None, *, ttl_s: float = 3600, **claims: Any) -> str:
        """Sign a token that the gateways accept; `claims` are laid over it."""
        return sign(self.file.jwt, user, device=device, ttl_s=ttl_s, claims=claims)

    def pid(self, name: str) -> int:
        """Return the process id of the process of that name. Raises `ProcessLookupError` while it is down."""
        for process in self.processes():
            if process.name == name and process.pid is not None:
                return process.pid
        raise ProcessLookupError(f"{name} does not run")

    def signal(self, name: str, sig: int) -> None:
        """Send a signal to it. Raises `ProcessLookupError` while it is down."""
        os.kill(self.pid(name), sig)

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until every service is ready. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while True:
                if await self.missing() is None:
                    return
                await asyncio.sleep(0.1)

    async def missing(self) -> str | None:
        """Name a process that is not ready now: a store that does not answer, a service that says so."""
        timeout = aiohttp.ClientTimeout(total=LOOK_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            file = self.file
            for process in file.processes:
                if process.pid is None or not await _answers(process, file, session):
                    return process.name
        return None

    def redis(self) -> Redis:
        """Return a client of the stack's Redis; the caller closes it."""
        return Redis(host="127.0.0.1", port=self.file.redis.port, protocol=2)

    @asynccontextmanager
    async def mysql(self) -> AsyncIterator[Any]:
        """Open a connection to the stack's MySQL, as its all-powerful user."""
        address = self.file.mysql
        connection = await aiomysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            db=address.database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=5,
        )
        try:
            yield connection
        finally:
            connection.close()

    async def metrics(self, name: str) -> dict[str, float]:
        """Read a service's metrics: sample name and labels, as Prometheus writes them, to value."""
        [url] = [process.metrics_url for process in self.processes() if process.name == name]
        async with aiohttp.ClientSession() as session, session.get(url or "") as response:
            text = await response.text()
        return {
            sample.name + "".join(f",{k}={v}" for k, v in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


async def _answers(process: ProcessEntry, file: StackFile, session: aiohttp.ClientSession) -> bool:
    match process.role:
        case "redis":
            return await redis_server.answers(file.redis.port)
        case "mysql":
            return await mysql_server.answers(file.mysql)
        case _:
            return await _is_ready(session, process.metrics_url or "")


async def _is_ready(session: aiohttp.ClientSession, metrics_url: str) -> bool:
    try:
        async with session.get(metrics_url.removesuffix("/metrics") + "/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
