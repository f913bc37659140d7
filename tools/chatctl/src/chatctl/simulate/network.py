"""Owns the roads between processes: how late each message is, outages, and what goes wrong at a call.

An outage holds messages back until its end, as TCP does; a connection may also be cut.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Final, Protocol

from aiohttp import web

from chatctl.simulate.channel import Channel, Server
from chatctl.simulate.event_loop import Process, VirtualLoop

USUAL_S: Final = 0.0005
"""Mean seconds of one way, when nothing is wrong."""


class Trouble(Protocol):
    """What may go wrong as a message leaves."""

    def at_call(self, road: "Lane", channel: Channel, *, answer: bool) -> float:
        """A call of an adapter, or its answer: break what the seed says; gives seconds for which it hangs."""

    def at_frame(self, process: Process) -> None:
        """A gateway and a client exchange bytes: break what the seed says."""


class Lane:
    """The road between one process and one server, for all connections between the two."""

    def __init__(self, loop: VirtualLoop, process: Process, host: "Host", trouble: Trouble, random: Random) -> None:
        self.process, self.host = process, host
        self.outage_until_s = 0.0
        self.slow_until_s = 0.0
        self.slow_s = 0.0
        self.channels: dict[Channel, None] = {}
        self._loop, self._trouble, self._random = loop, trouble, random

    @property
    def client(self) -> str:
        """Name the process whose road it is."""
        return self.process.name

    def delay_s(self, channel: Channel, *, answer: bool) -> float:
        """Give how late a message is."""
        now = self._loop.time()
        delay_s = self._trouble.at_call(self, channel, answer=answer) + self._random.expovariate(1 / USUAL_S)
        if now < self.slow_until_s:
            delay_s += self._random.uniform(0, self.slow_s)
        return delay_s + max(0.0, self.outage_until_s - now)

    def open_context(self) -> Context:
        """Let the server's side run in the server's process."""
        return self.host.process.context.copy()

    async def dial(self) -> Channel:
        """Connect. Raises OSError."""
        await _sleep(self._loop, self.delay_s_of_connecting())
        channel = self.host.process.context.copy().run(Channel, self.host.server, self)
        self.channels = {one: None for one in self.channels if not one.broken}
        self.channels[channel] = None
        return channel

    def delay_s_of_connecting(self) -> float:
        """Give how long a connection takes: it waits an outage out, or for a server that stands still."""
        now = self._loop.time()
        held_s = 0.1 if self.host.process.paused else 0.0
        return self._random.expovariate(1 / USUAL_S) + max(0.0, self.outage_until_s - now) + held_s

    def cut(self) -> None:
        """End every connection: what is on its way is lost."""
        for channel in list(self.channels):
            channel.cut()
        self.channels.clear()

    def close(self) -> None:
        """End every connection, as the kernel does for a process that died: what it sent still arrives."""
        for channel in list(self.channels):
            channel.close()
        self.channels.clear()


async def _sleep(loop: VirtualLoop, delay_s: float) -> None:
    waiter = loop.create_future()
    timer = loop.call_later(delay_s, lambda: None if waiter.done() else waiter.set_result(None), context=Context())
    try:
        await waiter
    finally:
        timer.cancel()


class Host:
    """A server as a process: it can be paused, and stopped."""

    def __init__(self, process: Process, server: Server) -> None:
        self.process, self.server = process, server


class Listener:
    """A gateway's door: where clients knock."""

    def __init__(self, process: Process, runner: web.AppRunner) -> None:
        self.process = process
        self._runner = runner

    @property
    def open(self) -> bool:
        """Whether anybody opens."""
        return self.process.alive and self._runner.server is not None

    def protocol(self) -> Callable[[], asyncio.BaseProtocol]:
        """Give what makes the protocol of a new connection."""
        server = self._runner.server
        assert server is not None  # noqa: S101 - `open` was asked before
        return server
