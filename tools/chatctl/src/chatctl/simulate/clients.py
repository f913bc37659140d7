"""Owns the clients of a run: bare devices whose sockets lead to the simulated gateways, and the people behind them."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final, Self

import jwt
import orjson

from chatctl.simulate.client_socket import ClientSocket, SocketShell, handshake
from chatctl.simulate.services import SECRET
from chatctl.simulate.world import World
from chatctl.verify.behaviour import Behaviour, Pace
from chatctl.verify.connection import RawConnection, Refused
from chatctl.verify.device import BareDevice
from chatctl.verify.history import History

USERS: Final[dict[str, tuple[str, ...]]] = {
    "alice": ("phone", "desk"),
    "bob": ("phone", "desk"),
    "carol": ("phone",),
    "dave": ("phone",),
}
TALKS: Final[dict[str, tuple[str, ...]]] = {
    "alice": ("bob", "carol"),
    "bob": ("alice", "dave"),
    "carol": ("alice",),
    "dave": ("bob",),
}
LATE: Final = ("alice", "tablet")
"""A device that is there at the beginning, and comes back when everything is over."""
PACE: Final = Pace(every_s=2.5, away_s=4.0, stall_s=4.0)
EXPIRES_S: Final = 4_000_000_000
CONNECT_S: Final = 8.0


class Nothing:
    """Stands for aiohttp's client session, which a connection closes with its socket."""

    async def close(self) -> None:
        """Do nothing."""


class SimulatedConnection(RawConnection):
    """A connection on the bare protocol to a gateway of `world`."""

    world: ClassVar[World]

    @classmethod
    async def open(
        cls,
        base: str,
        token: str | None,
        device: str,
        *,
        since: str | None = None,
        headers: Mapping[str, str] | None = None,
        protocols: tuple[str, ...] = (),
    ) -> Self:
        """Connect to the gateway of that name. Raises `Refused`, OSError."""
        del headers, protocols
        socket = ClientSocket(handshake(token, device, since))
        transport = None
        try:
            async with asyncio.timeout(CONNECT_S):
                transport = cls.world.knock(base, socket)
                status, body = await socket.status
        except BaseException:
            if transport is not None:
                transport.abort()
            raise
        if status != 101:
            transport.abort()
            with suppress(orjson.JSONDecodeError):
                raise Refused(status, orjson.loads(body)["error"]["code"], {})
            raise Refused(status, "", {})
        session: Any = Nothing()
        shell: Any = SocketShell(socket)
        return cls(session, shell)


class Crowd:
    """All clients of a run."""

    def __init__(self, world: World, history: History) -> None:
        SimulatedConnection.world = world
        self.world, self.history = world, history
        self.devices = [self._device(user, name) for user, names in USERS.items() for name in names]
        self.late = self._device(*LATE)
        gateways = [place.name for place in world.places.values() if place.role == "gateway"]
        self.people = [
            Behaviour(
                device,
                partial(TALKS.__getitem__, device.user),
                gateways=gateways,
                seed=f"{world.seed}/{device.user}/{device.device}",
                pace=PACE,
            )
            for device in self.devices
        ]
        self._acting: list[asyncio.Task[None]] = []

    def _device(self, user: str, name: str) -> BareDevice:
        token = jwt.encode({"sub": user, "exp": EXPIRES_S, "aud": "chat", "iss": "chat"}, SECRET, algorithm="HS256")
        gateways = [place.name for place in self.world.places.values() if place.role == "gateway"]
        return BareDevice(
            user=user,
            device=name,
            gateways=lambda: gateways,
            token=lambda: token,
            history=self.history,
            last_backoff_s=2.0,
            connection=SimulatedConnection,
        )

    def begin(self) -> None:
        """Connect, watch each other, and act."""
        for device in (*self.devices, self.late):
            device.watch(TALKS[device.user])
            device.start()
        self._acting = [asyncio.create_task(person.run(), name="person") for person in self.people]

    async def send_late_away(self) -> None:
        """The late one leaves, to come back in the end."""
        await self.late.stop()

    def calm_down(self) -> None:
        """Do from now on only what breaks no connection."""
        for person in self.people:
            person.calm = True
            person.settle()

    async def fall_silent(self) -> None:
        """Begin nothing more."""
        for task in self._acting:
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)
        self._acting.clear()
        self.history.quiet_s = self.world.now_s()

    async def stop(self) -> list[str]:
        """Disconnect everybody; gives what ended a device before."""
        ended = await asyncio.gather(*[d.stop() for d in (*self.devices, self.late)], return_exceptions=True)
        return [f"{type(end).__name__}: {end}" for end in ended if isinstance(end, Exception)]

    def cut_all(self) -> None:
        """End every client's connection at once."""
        for place in self.world.places.values():
            for socket in place.sockets:
                socket.abort()
