"""Owns the probes after the faults: two new users on two gateways try each kind of operation until it succeeds.

They note how long it took from the end of the faults; whether that is too long is the properties' part.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from chatctl.verify.device import BareDevice
from chatctl.verify.history import History, Probe
from chatctl.verify.population import bare_device, stopped
from chatctl.verify.system import System
from chatctl.verify.waiting import until

GIVE_UP_S: Final = 30.0
"""Seconds after which an operation counts as never succeeding: three times what is allowed."""
AGAIN_S: Final = 1.0
"""Seconds between two tries of what a client may ask again at any time."""
LOOK_S: Final = 0.02
MakeDevice = Callable[[System, History, str, str], BareDevice]
"""Makes a device of a user, of that name."""


def users_of(mark: str) -> tuple[str, str]:
    """Name the two users of a run's probes."""
    return f"probe-one-{mark}", f"probe-other-{mark}"


class Prober:
    """Two users, each on a gateway of their own, for one round of probes."""

    def __init__(self, system: System, history: History, mark: str, *, make: MakeDevice = bare_device) -> None:
        self._system = system
        self._history = history
        self._began_s = history.clock()
        self.one, self.other = users_of(mark)
        self._first = make(system, history, self.one, "phone")
        self._second = make(system, history, self.other, "phone")

    @property
    def devices(self) -> list[BareDevice]:
        """The two devices."""
        return [self._first, self._second]

    async def run(self) -> None:
        """Try every operation, one after the other, and note how each went."""
        first, second = self._first, self._second
        first.prefer(self._system.gateways[0])
        second.prefer(self._system.gateways[-1])
        first.start()
        second.start()
        await self._probe("connect", lambda: first.inbox.synced and second.inbox.synced)
        first.send(self.other, "probe-1", "are you there?")
        await self._probe("send", lambda: "probe-1" in first.state.sent)
        await self._probe("message", lambda: second.state.peer(self.one).cursor >= 1)
        await self._probe("delivery_ack", lambda: first.state.peer(self.other).peer_delivered >= 1)
        second.read(self.one, 1)
        await self._probe("read_ack", lambda: first.state.peer(self.other).peer_read >= 1)
        second.watch([self.one])
        await self._probe("presence_subscribe", lambda: second.inbox.presence.get(self.one) is True)
        await self._ask(first, {"type": "history", "ref": "p1", "peer": self.other}, first, "history")
        await self._ask(first, {"type": "conversations", "ref": "p2"}, first, "conversations")
        await self._ask(first, {"type": "typing", "to": self.other}, second, "typing")
        await self._ask(first, {"type": "auth", "token": self._system.token(self.one)}, first, "auth_ok")
        await self._ask(first, {"type": "ping"}, first, "pong")

    async def stop(self) -> None:
        """Disconnect both."""
        await asyncio.gather(*(stopped(device) for device in self.devices))

    async def _ask(self, asker: BareDevice, frame: dict[str, str], answered: BareDevice, kind: str) -> None:
        heard = answered.inbox.heard[kind]

        async def repeat() -> None:
            while True:
                asker.say(dict(frame))
                await asyncio.sleep(AGAIN_S)

        await self._probe(frame["type"], lambda: answered.inbox.heard[kind] > heard, repeat)

    async def _probe(
        self, operation: str, done: Callable[[], bool], meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        began_s = self._history.clock()
        job = asyncio.ensure_future(meanwhile()) if meanwhile else None
        took_s = None
        try:
            if await until(done, GIVE_UP_S, look_s=LOOK_S):
                took_s = self._history.clock() - self._began_s
        finally:
            if job is not None:
                job.cancel()
                await asyncio.gather(job, return_exceptions=True)
        self._history.probes.append(Probe(began_s, operation, took_s))
