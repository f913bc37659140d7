"""Owns devices that were here, go away, and all return at once, as PROTOCOL section 6 tells clients to."""

import asyncio
import random
from time import perf_counter
from typing import Final

from chatctl.bench.device import Device, Refused
from chatctl.bench.job import Job
from chatctl.bench.loads.load import Load, in_turns, until

FIRST_BACKOFF_S: Final = 0.5
MOST_BACKOFF_S: Final = 30.0
RETURN_S: Final = 300.0
"""Seconds for all to return and to get what they missed."""


class Away(Load):
    """Devices that connect, leave without a word, and return at `start` for the messages that they missed."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._numbers = range(job.first, job.first + job.count)
        self._tokens: dict[int, str] = {}
        self._back: list[Device] = []
        self._returning: list[asyncio.Task[None]] = []
        self._draw = random.Random(job.first)  # noqa: S311 - a load, not a secret

    async def connect(self) -> None:
        """Make the devices known, then cut all of them at once."""
        devices = [self._device(number) for number in self._numbers]
        await in_turns(self.open(device, number) for number, device in zip(self._numbers, devices, strict=True))
        for number, device in zip(self._numbers, devices, strict=True):
            self._tokens[number] = device.token
            device.abort()

    def start(self) -> None:
        """Let all return."""
        self._returning = [asyncio.create_task(self._return(number)) for number in self._numbers]

    async def finish(self) -> dict[str, int]:
        """Count the messages that did not come."""
        for task in self._returning:
            task.cancel()
        got = sum(device.received for device in self._back)
        return {"messages that did not come": self.job.count * self.job.missed - got}

    def _device(self, number: int) -> Device:
        user, since = self.user(number, "b"), self._tokens.get(number, "")
        return Device(user=user, request=self.request(user, number, since=since))

    async def _return(self, number: int) -> None:
        began, backoff_s = perf_counter(), FIRST_BACKOFF_S
        after_s = 0.0
        while True:
            await asyncio.sleep(max(after_s, self._draw.uniform(0, backoff_s)))
            device, opened = self._device(number), perf_counter()
            try:
                await self.open(device, number)
            except (Refused, OSError, TimeoutError) as error:
                self.tally.count(f"refused {error.status}" if isinstance(error, Refused) else "failed")
                backoff_s = min(MOST_BACKOFF_S, backoff_s * 2)
                after_s = error.retry_after_s if isinstance(error, Refused) else 0.0
                continue
            break
        self._back.append(device)
        await until(lambda: device.received >= self.job.missed, within_s=RETURN_S)
        self.tally.time("replay").record(perf_counter() - opened)
        self.tally.time("return").record(perf_counter() - began)
        self.tally.count("returned")
