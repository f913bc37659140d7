"""Owns the clients of a run: bare devices whose sockets lead to the simulated gateways, and the people behind them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, ClassVar, Final, Self

import jwt
import orjson

from chatctl.simulate.client_socket import ClientSocket, SocketShell, handshake
from chatctl.simulate.services import SECRET
from chatctl.simulate.transports import MemoryTransport
from chatctl.simulate.world import World
from chatctl.verify import history as h
from chatctl.verify.behaviour import Behaviour, Pace
from chatctl.verify.case import FOR_EVER
from chatctl.verify.connection import RawConnection, Refused
from chatctl.verify.device import BareDevice
from chatctl.verify.history import History, digest, pair_of

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
PAIRS: Final = sorted({pair_of(user, peer) for user, peers in TALKS.items() for peer in peers})
SILENT_S: Final = (6.0, 42.0)
SILENT_SHARE: Final = 0.5
"""Of the conversations, those in which nobody says anything from some moment on: a next message, or mark, would heal
what was lost of the last ones."""
STAYING_SHARE: Final = 0.4
"""Of the people, those who break no connection themselves: each new one gets a sync, which would heal the same."""
LATE: Final = ("alice", "tablet")
"""A device that is there at the beginning, and comes back when everything is over."""
PACE: Final = Pace(every_s=2.5, away_s=4.0, stall_s=4.0)
EXPIRES_S: Final = 4_000_000_000
CONNECT_S: Final = 8.0


UNHEARD_SHARE: Final = 0.5
"""Of the devices that vanish, those whose gateway hears nothing of it."""
TICK_S: Final = 0.5
"""Seconds between a client's looks at its deadlines, which are of seconds: half as many looks as `verify`'s."""
TWICE_S: Final = 0.05
"""Most seconds after which a frame is sent a second time."""


def token_of(user: str) -> str:
    """Sign a token that outlives every run."""
    return jwt.encode({"sub": user, "exp": EXPIRES_S, "aud": "chat", "iss": "chat"}, SECRET, algorithm="HS256")


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

    def vanish(self) -> None:
        """Be out of reach, without a word from any side."""
        transport = self._socket._writer.transport
        if isinstance(transport, MemoryTransport):
            transport.vanish()


class SimulatedDevice(BareDevice):
    """A bare device that may vanish as real ones do: no reset comes, and its gateway has to find out by itself."""

    dice: Random

    async def _let_go(self, connection: RawConnection, *, ours: bool) -> None:
        vanishes = ours and self._how == "abort" and self.dice.random() < UNHEARD_SHARE
        if not vanishes or not isinstance(connection, SimulatedConnection):
            await super()._let_go(connection, ours=ours)
            return
        link, self.witness.link = self.witness.link, 0
        # Not by its own word: nobody is told, so what shows that it is gone is held to the TTL.
        self.witness.of_link(link).saw(h.Closed, 0, ours=False)
        connection.vanish()


class Impatient(Behaviour):
    """A person whose client also says things twice: by a retry that came too early, by an old acknowledgement."""

    def __init__(self, device: BareDevice, talking: Callable[[], Sequence[str]], **options: Any) -> None:
        super().__init__(device, talking, **options)
        twice: list[tuple[Callable[[], None], int]] = [(self._send_twice, 8), (self._ack_again, 3)]
        self._gentle, self._rough = self._gentle + twice, self._rough + twice

    def _send_twice(self) -> None:
        self._send()
        if self._mine:
            peer, client_id, body = self._mine[-1]
            frame = {"type": "send", "id": client_id, "to": peer, "body": body}
            again = partial(self.device.say, frame, h.Sending, peer, client_id, digest(body))
            asyncio.get_running_loop().call_later(self._random.uniform(0, TWICE_S), again)

    def _ack_again(self) -> None:
        peer = self._peer()
        known = self.device.state.peers.get(peer) if peer is not None else None
        reads = self._random.random() < 0.5
        most = 0 if known is None else min(known.own_read, known.cursor) if reads else known.cursor
        if most:
            seq = self._random.randint(1, most)
            kind = "read_ack" if reads else "delivery_ack"
            self.device.say({"type": kind, "peer": peer, "seq": seq}, h.Acked, peer, seq, reads)


def make_device(world: World, history: History, user: str, name: str) -> SimulatedDevice:
    """Make a device of a user that connects to any gateway."""
    token = token_of(user)
    device = SimulatedDevice(
        user=user,
        device=name,
        gateways=lambda: world.gateways,
        token=lambda: token,
        history=history,
        last_backoff_s=2.0,
        connection=SimulatedConnection,
    )
    device.dice = world.dice(f"{user}/{name}")
    device._writer.tick_s = TICK_S
    return device


class Crowd:
    """All clients of a run."""

    def __init__(self, world: World, history: History) -> None:
        SimulatedConnection.world = world
        self.world, self.history = world, history
        self.devices = [self._device(user, name) for user, names in USERS.items() for name in names]
        self.late = self._device(*LATE)
        gateways, dice = world.gateways, world.dice("people")
        self._silent_s = {pair: dice.uniform(*SILENT_S) for pair in PAIRS if dice.random() < SILENT_SHARE}
        self.people = [
            Impatient(
                device,
                partial(self._talks_with, device.user),
                gateways=gateways,
                seed=f"{world.seed}/{device.user}/{device.device}",
                pace=PACE,
                calm=dice.random() < STAYING_SHARE,
            )
            for device in self.devices
        ]
        self._acting: list[asyncio.Task[None]] = []

    def _talks_with(self, user: str) -> list[str]:
        """Name the peers with whom a user still talks."""
        now = self.world.now_s()
        return [peer for peer in TALKS[user] if now < self._silent_s.get(pair_of(user, peer), FOR_EVER)]

    def _device(self, user: str, name: str) -> SimulatedDevice:
        return make_device(self.world, self.history, user, name)

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
