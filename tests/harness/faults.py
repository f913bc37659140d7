"""Owns the kills at random of the fault tests, and the load that runs meanwhile; other faults are `chatctl.faults`'."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from chatctl.verify.device import BareDevice

from tests.harness.system import System

ROLES: Final = ("gateway", "worker", "presence", "redis", "mysql")


@dataclass(slots=True)
class Killer:
    """Kills a random process of a random role every few seconds."""

    system: System
    every_s: float
    random: random.Random
    killed: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Kill until cancelled."""
        while True:
            await asyncio.sleep(self.every_s)
            self.kill_one()

    def kill_one(self) -> None:
        """SIGKILL one process; one that is down at the moment is passed over."""
        role = self.random.choice(ROLES)
        running = [process for process in self.system.processes() if process.role == role and process.pid is not None]
        if not running:
            return
        victim = self.random.choice(running)
        with suppress(ProcessLookupError):
            os.kill(victim.pid or 0, signal.SIGKILL)
            self.killed.append(victim.name)


@dataclass(frozen=True, slots=True)
class Load:
    """Messages to send: over which conversations, how many, how fast."""

    lanes: Sequence[tuple[BareDevice, str]]
    """Sending device and peer; taken in turn."""
    messages: int
    per_s: float

    async def run(self, *, until: asyncio.Event | None = None) -> int:
        """Hand the messages to the devices, evenly over their time, or stop at a word; gives their number."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(self.messages):
            if until is not None and until.is_set():
                return number
            device, peer = self.lanes[number % len(self.lanes)]
            device.send(peer, f"{device.device}-{number}", f"message {number} of {device.user}")
            ahead = begun + number / self.per_s - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
        return self.messages


def ring(users: int, peers: int) -> list[tuple[int, int]]:
    """Return pairs in which each of the users talks with `peers` others in each direction of a ring."""
    if peers * 2 >= users:
        raise ValueError("a ring needs more than twice as many users as peers")
    return [(user, (user + step) % users) for user in range(users) for step in range(1, peers + 1)]


@asynccontextmanager
async def running(*jobs: asyncio.Task[None]) -> AsyncIterator[None]:
    """Keep jobs going through a block; one that failed fails the block."""
    try:
        yield
    finally:
        for job in jobs:
            job.cancel()
        results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
