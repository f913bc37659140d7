"""Owns a stack that is watched while people chat on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.scenery import stage
from tests.harness.cast import Cast
from tests.harness.stack import Stack
from tests.observability.live import Prometheus, watched

MESSAGES: Final = 1_200
PER_S: Final = 60


@pytest.fixture(scope="session")
async def chatting(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus that has seen 20 s of chat, syncs, histories and presence, and still scrapes."""
    folder = Path(tmp_path_factory.mktemp("prometheus"))
    async with watched(stack, folder) as prometheus, stage(stack, users=12, peers=2) as scene, Cast(stack) as cast:
        requests = asyncio.create_task(_ask(cast))
        await scene.load(MESSAGES, PER_S).run()
        await requests
        for expr in ("up{job='mysql'} == 1", "chat:late_deliveries:ratio_rate5m", "chat_worker_backlog_entries"):
            await prometheus.until(expr)
        yield prometheus


async def _ask(cast: Cast) -> None:
    """Come and go, ask for old messages, watch who is online: everything that a dashboard has a panel for."""
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher = await cast.online(alice)
    await watcher.send({"type": "presence_subscribe", "users": [bob]})
    for number in range(10):
        one = await cast.online(bob, gateway=number)
        await one.send({"type": "conversations", "ref": f"r{number}"})
        await one.receive_answer(f"r{number}")
        await one.send({"type": "typing", "to": alice})
        await one.close()
        await asyncio.sleep(1.5)
