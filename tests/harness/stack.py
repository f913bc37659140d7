"""Owns the private stack of a test run: started as a user would, driven and broken through its `stack.json`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiomysql
from chatctl.stack import stack_file
from chatctl.stack.stack_file import ProcessEntry, StackFile
from chatctl.tokens import sign
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

UP_S = 300
"""Seconds for a start, the making of a real MySQL's tree included."""


class Stack:
    """A stack that runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    async def start(
        cls,
        folder: Path,
        *,
        gateways: int = 2,
        workers: int = 2,
        presence: int = 1,
        environment: Mapping[str, str] | None = None,
        database: str = "mariadb",
    ) -> "Stack":
        """Start one; returns when it is ready."""
        counts = (f"--gateways={gateways}", f"--workers={workers}", f"--presence={presence}", f"--database={database}")
        settings = [f"--set={name}={value}" for name, value in (environment or {}).items()]
        await asyncio.to_thread(
            _run,
            "up",
            "--detach",
            "--fresh",
            f"--dir={folder}",
            "--port=0",
            f"--owner={os.getpid()}",
            *counts,
            *settings,
        )
        return cls(folder)

    async def stop(self) -> None:
        """Stop it, in order."""
        await asyncio.to_thread(_run, "down", f"--dir={self.folder}")

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
        """Return the process id of the process of that name."""
        for process in self.processes():
            if process.name == name and process.pid is not None:
                return process.pid
        raise AssertionError(f"{name} does not run")

    def signal(self, name: str, sig: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid(name), sig)

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until every service is ready."""
        async with asyncio.timeout(timeout_s):
            while not await self._is_ready():
                await asyncio.sleep(0.1)

    async def _is_ready(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for process in self.processes():
                if process.pid is None:
                    return False
                if process.metrics_url is None:
                    continue
                try:
                    async with session.get(process.metrics_url.replace("/metrics", "/readyz")) as response:
                        if response.status != 200:
                            return False
                except (aiohttp.ClientError, OSError, TimeoutError):
                    return False
        return True

    def redis(self) -> Redis:
        """Return a client of the stack's Redis; the caller closes it."""
        return Redis(host="127.0.0.1", port=self.file.redis.port, protocol=2)

    @asynccontextmanager
    async def mysql(self) -> AsyncIterator[Any]:
        """Open a connection to the stack's MySQL."""
        address = self.file.mysql
        connection = await aiomysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            db=address.database,
            charset="utf8mb4",
            autocommit=True,
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


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatctl", *arguments], capture_output=True, text=True, timeout=UP_S, check=False
    )
    assert done.returncode == 0, f"chatctl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
