"""Owns what every load is: devices that connect, work from `start` on, and answer for what they did at the end."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from chatctl.bench import wire
from chatctl.bench.device import Device
from chatctl.bench.job import CONNECTS_AT_ONCE, Job, Tally
from chatctl.stack.stack_file import JwtSettings
from chatctl.tokens import sign

READY_S: Final = 60.0
"""Seconds for one device to connect and to finish its first sync."""
TOKEN_S: Final = 6 * 3600
LOOK_S: Final = 0.02

D = TypeVar("D", bound=Device)


class Load(ABC):
    """One generator's share of a load."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.tally = Tally()
        self.running = False
        self._jwt = JwtSettings(secret=job.secret, audience=job.audience, issuer=job.issuer)

    @abstractmethod
    async def connect(self) -> None:
        """Bring the devices to where the load begins."""

    @abstractmethod
    def start(self) -> None:
        """Begin; returns at once."""

    @abstractmethod
    async def finish(self) -> dict[str, int]:
        """Stop, wait for what is under way, and count what was promised and did not come: all zeros if all is well."""

    def mark(self) -> Tally:
        """Give what was counted, and count anew."""
        counted, self.tally = self.tally, Tally()
        return counted

    async def open(self, device: D, number: int) -> D:
        """Connect one device to the gateway of its number, and wait for its sync."""
        url = urlsplit(self.url(number))
        source = self.job.sources[number % len(self.job.sources)]
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(READY_S):
            await loop.create_connection(
                lambda: device, host=url.hostname or "", port=url.port or 0, local_addr=(source, 0)
            )
            await device.ready
        return device

    def url(self, number: int) -> str:
        """Give the gateway of a number."""
        return self.job.urls[number % len(self.job.urls)]

    def request(self, user: str, number: int, *, device: str = "bench", since: str = "") -> bytes:
        """Write a user's handshake with the gateway of a number."""
        token = sign(self._jwt, user, ttl_s=TOKEN_S)
        return wire.upgrade(host=urlsplit(self.url(number)).netloc, device=device, token=token, since=since)

    def user(self, number: int, side: str = "") -> str:
        """Name a user of this run."""
        return f"{self.job.prefix}-{number}{side}"


async def in_turns(work: Iterable[Coroutine[None, None, object]], at_once: int = CONNECTS_AT_ONCE) -> None:
    """Do all of `work`, so much of it at a time; the first failure ends it."""
    rest = iter(work)

    async def lane() -> None:
        for one in rest:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(lane())


async def until(condition: Callable[[], bool], *, within_s: float) -> None:
    """Wait for a condition; past the deadline its caller counts what is missing."""
    for _ in range(round(within_s / LOOK_S)):
        if condition():
            return
        await asyncio.sleep(LOOK_S)
