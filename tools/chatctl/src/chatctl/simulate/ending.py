"""Owns the end of a run: every operation is tried again, and what the system says by then is read back.

The end is read through the protocol, as clients read it; it must never look into a store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from chatctl.simulate.clients import TALKS, Crowd, SimulatedConnection, SimulatedDevice, make_device, token_of
from chatctl.simulate.services import PRESENCE_TTL_S
from chatctl.simulate.world import World
from chatctl.verify.connection import ConnectionClosed, RawConnection, Refused
from chatctl.verify.final_state import DeviceEnd, Log
from chatctl.verify.history import History, Pair, pair_of
from chatctl.verify.probes import Prober
from chatctl.verify.properties.presence import GONE_S
from chatctl.verify.reading import last_of_sync, read_list, read_log
from chatctl.verify.system import System
from chatctl.verify.waiting import until

MARK: Final = "simulated"
FOR_EVER_S: Final = 1e6
TRIES: Final = 3
"""Of one reading; between them a second."""
T = TypeVar("T")


@dataclass(slots=True)
class Reading:
    """What the system and the devices say in the end, by `FinalState`'s names."""

    devices: Sequence[DeviceEnd]
    logs: dict[Pair, Log] = field(default_factory=dict)
    mirrors: dict[Pair, Log] = field(default_factory=dict)
    fresh: dict[str, Mapping[str, int]] = field(default_factory=dict)
    listed: dict[str, Mapping[str, int]] = field(default_factory=dict)
    online: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)


class Clients:
    """What the tools of `verify` ask of a system, of this one."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def gateways(self) -> Sequence[str]:
        """The gateways."""
        return self._world.gateways

    def token(self, user: str, device: str | None = None, *, ttl_s: float = 3600) -> str:
        """Give a token of that user."""
        del device, ttl_s
        return token_of(user)

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """It is awaited by the run."""


class Ending:
    """The end of one run."""

    def __init__(self, world: World, crowd: Crowd, history: History) -> None:
        self._world, self._crowd, self._history = world, crowd, history
        self._prober = Prober(Clients(world), history, MARK, make=self._make)
        self._probing = asyncio.create_task(self._probe(), name="probes")

    def _make(self, system: System, history: History, user: str, device: str) -> SimulatedDevice:
        del system
        return make_device(self._world, history, user, device)

    async def _probe(self) -> None:
        """Try every operation; then one of the two users says goodbye, and the other one vanishes."""
        await self._prober.run()
        leaver, vanisher = self._prober.devices
        await leaver.stop()
        vanisher.go("abort", away_s=FOR_EVER_S)

    async def read(self) -> Reading:
        """Read the end. Raises what connecting and asking raise."""
        await self._probing
        reading = Reading([*(device.end() for device in self._crowd.devices), self._crowd.late.end(came_late=True)])
        reading.online = await self._ask_who_is_online()
        peers = {**TALKS, self._prober.one: (self._prober.other,), self._prober.other: (self._prober.one,)}
        for number, (user, others) in enumerate(peers.items()):
            base = self._world.gateways[number % len(self._world.gateways)]
            await self._read_of(reading, base, user, others)
        return reading

    async def stop(self) -> list[str]:
        """Disconnect whoever is left; gives what ended a device before."""
        self._probing.cancel()
        failures = [device.failure for device in self._prober.devices]
        await self._prober.stop()
        return [f"{type(failure).__name__}: {failure}" for failure in failures if failure is not None]

    async def _ask_who_is_online(self) -> dict[str, tuple[bool, bool]]:
        truth = dict.fromkeys(TALKS, True) | {self._prober.one: False, self._prober.other: False}
        judge = make_device(self._world, self._history, "judge", "phone")
        judge.watch(list(truth))
        judge.start()
        told = judge.inbox.presence
        await until(lambda: {user: told.get(user) for user in truth} == truth, PRESENCE_TTL_S + GONE_S)
        online = {user: (told.get(user) is True, is_online) for user, is_online in truth.items()}
        await judge.stop()
        return online

    async def _read_of(self, reading: Reading, base: str, user: str, peers: Sequence[str]) -> None:
        """Read all of a user's on a device that never was before."""

        async def look(connection: RawConnection) -> None:
            reading.fresh[user] = last_of_sync(await connection.sync())
            reading.listed[user] = await read_list(connection)
            for peer in peers:
                pair = pair_of(user, peer)
                logs = reading.logs if user == pair[0] else reading.mirrors
                logs[pair] = await read_log(connection, peer)

        await _on_a_connection(base, user, look)


async def _on_a_connection(base: str, user: str, work: Callable[[RawConnection], Awaitable[None]]) -> None:
    for tries_left in reversed(range(TRIES)):
        try:
            connection = await SimulatedConnection.open(base, token_of(user), "judge")
            try:
                await connection.expect("welcome")
                await work(connection)
                return
            finally:
                await connection.close()
        except (OSError, Refused, TimeoutError, ConnectionClosed, AssertionError):
            if not tries_left:
                raise
            await asyncio.sleep(1)
