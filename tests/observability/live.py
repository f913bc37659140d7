"""Owns a running Prometheus with the repository's rules, and the stores' exporters, over a private stack."""

import asyncio
import json
import shutil
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from chatctl.stack import ports

from tests.harness.stack import Stack
from tests.observability.prometheus import RULES, tool

JOBS: Final = {"gateway": "gateway", "worker": "delivery-worker", "presence": "presence"}
"""The roles of a stack's processes, and how Prometheus's jobs are called."""
START_S: Final = 60
SCRAPE: Final = "2s"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str

    async def query(self, expr: str) -> list[Any]:
        """Ask for the series of an expression now. Fails with what Prometheus says of one that it cannot read."""
        query = urllib.parse.urlencode({"query": expr})
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/v1/query?{query}") as answer:
            said = await answer.json()
        assert said["status"] == "success", f"{expr}: {said.get('error')}"
        found: list[Any] = said["data"]["result"]
        return found

    async def until(self, expr: str, *, timeout_s: float = START_S) -> None:
        """Wait until an expression has a series."""
        async with asyncio.timeout(timeout_s):
            while not await self.query(expr):
                await asyncio.sleep(0.2)


@asynccontextmanager
async def watched(stack: Stack, folder: Path) -> AsyncIterator[Prometheus]:
    """Watch a stack."""
    programs = [tool(name) for name in ("prometheus", "prometheus-redis-exporter", "prometheus-mysqld-exporter")]
    port, redis_port, mysql_port = ports.private(3)
    config = folder / "prometheus.json"
    config.write_text(json.dumps(_config(stack, redis_port, mysql_port)))
    mysql = stack.file.mysql
    async with AsyncExitStack() as running:

        async def run(*command: str, environment: Mapping[str, str] | None = None) -> None:
            await running.enter_async_context(_running(folder, *command, environment=environment or {}))

        await run(
            programs[1],
            f"-redis.addr=redis://127.0.0.1:{stack.file.redis.port}",
            f"-web.listen-address=127.0.0.1:{redis_port}",
        )
        await run(
            programs[2],
            f"--web.listen-address=127.0.0.1:{mysql_port}",
            environment={"DATA_SOURCE_NAME": f"{mysql.user}:{mysql.password}@({mysql.host}:{mysql.port})/"},
        )
        await run(
            programs[0],
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        )
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        await _answering(prometheus.url)
        yield prometheus


def _config(stack: Stack, redis_port: int, mysql_port: int) -> dict[str, Any]:
    targets: dict[str, list[str]] = {job: [] for job in JOBS.values()}
    for process in stack.processes():
        if process.metrics_url is not None:
            targets[JOBS[process.role]].append(urllib.parse.urlsplit(process.metrics_url).netloc)
    targets |= {"redis": [f"127.0.0.1:{redis_port}"], "mysql": [f"127.0.0.1:{mysql_port}"]}
    return {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": found}]} for job, found in targets.items()],
    }


@asynccontextmanager
async def _running(folder: Path, *command: str, environment: Mapping[str, str]) -> AsyncIterator[None]:
    setpriv = shutil.which("setpriv")  # whatever becomes of the tests, it ends with them
    prefix = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*prefix, *command, stdout=log, stderr=log, env=dict(environment))
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _answering(url: str) -> None:
    async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
