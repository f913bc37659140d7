"""The process: its exit codes, and its port of health."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

Process = asyncio.subprocess.Process
Run = Callable[..., Awaitable[Process]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts `python -m presence`."""
    processes: list[Process] = []

    async def start(**environment: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "presence",
            env={**os.environ, **environment},
            stderr=asyncio.subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def url_of(process: Process) -> str:
    """Read where it listens off its log."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while line := await process.stderr.readline():
            if b"health_listening" in line:
                found = re.search(rb'"port": (\d+)', line)
                assert found is not None
                return f"http://127.0.0.1:{found[1].decode()}"
    raise AssertionError("it ended before it listened")


async def status(url: str, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
        return answer.status


async def test_it_becomes_ready_and_ends_with_0_after_sigterm(redis: Any, presence_redis: str, run: Run) -> None:
    process = await run(CHAT_REDIS_URL=presence_redis)
    url = await url_of(process)
    async with asyncio.timeout(20):
        while await status(url, "/readyz") != 200:
            await asyncio.sleep(0.05)
    assert await status(url, "/metrics") == 200
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0


async def test_without_redis_it_lives_and_is_not_ready_and_still_ends_with_0(run: Run) -> None:
    process = await run(CHAT_REDIS_URL="redis://127.0.0.1:1/0")
    url = await url_of(process)
    assert await status(url, "/healthz") == 200
    assert await status(url, "/readyz") == 503
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0


async def test_a_setting_at_fault_is_one_line_and_exit_code_2(run: Run) -> None:
    process = await run(CHAT_PRESENCE_TTL_S="1")
    _, told = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert told.count(b"\n") == 1
    assert b"CHAT_PRESENCE_TTL_S" in told
