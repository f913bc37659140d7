"""Owns one run's world: the stores' twins, the services in their processes, and the roads between them.

It starts, kills and restarts them; what happens when is `faults`' to decide, and what it means `judge`'s.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from random import Random
from typing import Any, Final

from aiohttp import web
from chatcore.errors import StoreUnavailable
from chatcore.keys import Keys
from chatcore.lifecycle import serve

from chatctl.simulate.channel import Channel
from chatctl.simulate.clocks import WALL_S
from chatctl.simulate.event_loop import Process, VirtualLoop
from chatctl.simulate.network import Host, Lane, Listener, Trouble
from chatctl.simulate.services import ROLES, SHUTDOWN_S, Compose
from chatctl.simulate.trace import Trace
from chatctl.simulate.transports import MemoryTransport, connect
from chatctl.simulate.twin_mysql.server import TwinMySQL
from chatctl.simulate.twin_redis.server import TwinRedis

PARTITIONS: Final = 3
REDIS, MYSQL, CLIENTS = "redis", "mysql", "clients"
AGAIN_S: Final = 0.5
"""Seconds until a service is started again that could not start."""
CLIENT_S: Final = 0.01
"""Mean seconds of one way between a client and its gateway."""


class Place:
    """Where one service runs: a name that outlives its processes."""

    def __init__(self, name: str, role: str) -> None:
        self.name, self.role = name, role
        self.process: Process | None = None
        self.app: Any = None
        self.lanes: dict[str, Lane] = {}
        self.listener: Listener | None = None
        self.sockets: list[MemoryTransport] = []
        """The clients' ends of the connections to it."""
        self.clients_outage_until_s = 0.0


class PlaceRoads:
    """How the process at a place reaches the others."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def redis(self) -> Any:
        """Connect to Redis."""
        return self._place.lanes[REDIS].dial

    @property
    def mysql(self) -> Any:
        """Connect to MySQL."""
        return self._place.lanes[MYSQL].dial

    @property
    def listen(self) -> Callable[[web.AppRunner], None]:
        """Let clients in."""

        def begin(runner: web.AppRunner) -> None:
            assert self._place.process is not None  # noqa: S101 - it runs in it
            self._place.listener = Listener(self._place.process, runner)

        return begin


class World:
    """Everything but the clients."""

    def __init__(
        self,
        loop: VirtualLoop,
        seed: str,
        *,
        places: Mapping[str, str],
        trouble: Callable[["World"], Trouble],
        roles: Mapping[str, Compose] = ROLES,
        trace: Trace,
    ) -> None:
        self.loop, self.seed, self.trace = loop, seed, trace
        self.keys = Keys()
        self.redis = TwinRedis(self._wall_ms)
        self.mysql = TwinMySQL(self._wall_ms)
        self.mysql.migrate(partitions=PARTITIONS, epoch="simulated")
        self.hosts = {
            REDIS: Host(Process(loop, REDIS), self.redis),
            MYSQL: Host(Process(loop, MYSQL), self.mysql),
        }
        self.places = {name: Place(name, role) for name, role in places.items()}
        self.deaths: list[str] = []
        """Services that ended by themselves, and why."""
        self.graveyard: list[Process] = []
        self._roles = roles
        self._dice: dict[str, Random] = {}
        self._trouble = trouble(self)
        self._starts = 0

    @property
    def gateways(self) -> list[str]:
        """Name the places of the gateways, whether one runs there or not."""
        return [place.name for place in self.places.values() if place.role == "gateway"]

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    def dice(self, name: str) -> Random:
        """Give a source of chance of that name: what one draws moves no other."""
        made = self._dice.get(name)
        if made is None:
            made = self._dice[name] = Random(f"{self.seed}/{name}")  # noqa: S311 - a seed is to give the same again
        return made

    def random_of(self, process: Process | None) -> Random:
        """Give the source of chance of a process."""
        return self.dice(process.name if process is not None else "nobody")

    def _wall_ms(self) -> int:
        return int((WALL_S + self.loop.time()) * 1000)

    def start(self, name: str) -> None:
        """Start a process at a place where none runs."""
        place = self.places[name]
        if place.process is not None:
            return
        self._starts += 1
        process = Process(self.loop, f"{name}#{self._starts}")
        place.process = process
        place.lanes = {
            host: Lane(self.loop, process, self.hosts[host], self._trouble, self.dice(f"{process.name}-{host}"))
            for host in self.hosts
        }
        self.trace.note("start", process.name)
        process.start(self._serve(place, process))

    async def _serve(self, place: Place, process: Process) -> None:
        place.app = self._roles[place.role](place.name, PlaceRoads(place))
        try:
            if await serve(place.app, shutdown_s=SHUTDOWN_S):
                self.deaths.append(f"{process.name} ended by itself")
        except StoreUnavailable:
            # A start needs its store; whoever watches over the service starts it again.
            self.loop.call_later(AGAIN_S, self.start, place.name, context=Context())
        self._ended(place, process)

    def _ended(self, place: Place, process: Process) -> None:
        self.trace.note("end", process.name)
        for lane in place.lanes.values():
            lane.cut()
        self._empty(place, process)
        process.kill()

    def _empty(self, place: Place, process: Process) -> None:
        if place.process is process:
            place.process, place.listener = None, None
        for socket in place.sockets:
            socket.reset()
        place.sockets.clear()
        self.graveyard.append(process)

    def kill(self, name: str, *, vanishes_s: float = 0.0) -> None:
        """End a process at once. The others hear of it, or only after `vanishes_s`, as when its host is gone."""
        place = self.places[name]
        process = place.process
        if process is None:
            return
        self.trace.note("kill", process.name)
        process.kill()
        sent_arrives = not vanishes_s and self.dice("deaths").random() < 0.5
        for lane in place.lanes.values():
            self.loop.call_later(vanishes_s, lane.close if sent_arrives else lane.cut, context=Context())
        self._empty(place, process)

    def restart(self, name: str) -> None:
        """End what still runs at a place, and start anew."""
        self.kill(name)
        self.start(name)

    def kill_process(self, process: Process) -> None:
        """End a process at once, wherever it runs, if it still does."""
        for place in self.places.values():
            if place.process is process:
                self.kill(place.name)

    def knock(self, name: str, client: asyncio.Protocol) -> MemoryTransport:
        """Connect a client to a gateway. Raises `ConnectionRefusedError` where nobody listens."""
        place = self.places[name]
        if place.listener is None or place.process is None or not place.listener.open:
            raise ConnectionRefusedError(f"nobody listens at {name}")
        make, process = place.listener.protocol(), place.process
        context = process.context.copy()
        random = self.dice(f"{place.process.name}-socket-{len(place.sockets)}")
        near = connect(
            client,
            context.run(make),
            server_context=context,
            delay_s=lambda: self._client_delay_s(place, process, random),
        )
        place.sockets = [socket for socket in place.sockets if not socket.is_closing()]
        place.sockets.append(near)
        return near

    def _client_delay_s(self, place: Place, process: Process, random: Random) -> float:
        self._trouble.at_frame(process)
        now = self.loop.time()
        return random.expovariate(1 / CLIENT_S) + max(0.0, place.clients_outage_until_s - now)

    def running(self, role: str) -> list[Place]:
        """Give the places of a role that have a process."""
        return [place for place in self.places.values() if place.role == role and place.process is not None]

    def channels_of(self, host: str) -> list[Channel]:
        """Give every connection to a store."""
        return [
            channel for place in self.places.values() if host in place.lanes for channel in place.lanes[host].channels
        ]
