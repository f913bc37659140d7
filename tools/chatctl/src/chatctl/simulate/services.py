"""Owns the services as the simulation composes them: each service's own root, with the twins for its stores.

A root here replaces adapters and what a process measures of itself; whatever else it does is the product's.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

from aiohttp import web
from chatcore.lifecycle import Supervisor
from chatcore.redis_client import Connect
from delivery_worker.app import WorkerApp
from delivery_worker.settings import WorkerSettings
from delivery_worker.store.session import Session
from gateway.app import GatewayApp
from gateway.settings import GatewaySettings
from presence.app import PresenceApp
from presence.settings import PresenceSettings

from chatctl.simulate.twin_mysql.wire import Dial as DialMySQL
from chatctl.simulate.twin_mysql.wire import open_with
from chatctl.simulate.twin_redis.client import Dial as DialRedis
from chatctl.simulate.twin_redis.client import TwinClient

SECRET: Final = "a-secret-of-the-simulation-32-bytes"  # noqa: S105 - signs tokens that nothing else takes
PRESENCE_TTL_S: Final = 15
"""Two missed beats and a half: as the product has it, in a minute's time."""
SHUTDOWN_S: Final = 6.0


class Roads(Protocol):
    """How one process reaches the others."""

    @property
    def redis(self) -> DialRedis:
        """Connect to Redis."""

    @property
    def mysql(self) -> DialMySQL:
        """Connect to MySQL."""

    @property
    def listen(self) -> Callable[[web.AppRunner], None]:
        """Let clients in."""


class Quiet:
    """Stands for what a process shows and measures of itself: its port for health, its event loop's lag."""

    async def start(self) -> int:
        """Listen nowhere."""
        return 0

    async def stop(self) -> None:
        """Do nothing."""

    def settle(self) -> None:
        """Leave the collector alone."""

    async def watch(self) -> None:
        """Measure nothing."""
        await asyncio.Event().wait()


def connect_twin(dial: DialRedis) -> Connect:
    """Give what makes clients of the twin of Redis."""

    def connect(*, name: str, connections: int = 4) -> TwinClient:
        del name
        return TwinClient(dial, connections=connections)

    return connect


def _quieten(app: Any) -> None:
    app.vitals = app.health = Quiet()


@cache
def _worker_settings(name: str) -> WorkerSettings:
    values: dict[str, Any] = {
        "mysql_user": "w",
        "mysql_password": "w",
        "sync_connections": 2,
        "shutdown_s": SHUTDOWN_S,
    }
    return WorkerSettings(name=name, **values)


@cache
def _gateway_settings(name: str) -> GatewaySettings:
    values: dict[str, Any] = {"jwt_secret": SECRET, "presence_ttl_s": PRESENCE_TTL_S, "shutdown_s": SHUTDOWN_S}
    return GatewaySettings(name=name, **values)


@cache
def _presence_settings(name: str) -> PresenceSettings:
    return PresenceSettings(name=name, presence_ttl_s=PRESENCE_TTL_S, shutdown_s=SHUTDOWN_S)


class SimulatedWorker(WorkerApp):
    """A worker on the twins."""

    def __init__(self, name: str, roads: Roads) -> None:
        self._roads = roads
        super().__init__(_worker_settings(name))
        _quieten(self)

    def make_connect(self) -> Connect:
        """Reach the twin of Redis."""
        return connect_twin(self._roads.redis)

    def make_session(self, *, idle_s: int) -> Session:
        """Reach the twin of MySQL."""
        return Session(
            self.settings, idle_s=idle_s, failed=self.metrics.database_error, open_with=open_with(self._roads.mysql)
        )

    async def check_schema(self) -> None:
        """The twin has it."""


class SimulatedGateway(GatewayApp):
    """A gateway on the twin of Redis, that clients reach in memory."""

    def __init__(self, name: str, roads: Roads) -> None:
        self._roads = roads
        super().__init__(_gateway_settings(name))
        _quieten(self)

    def make_connect(self) -> Connect:
        """Reach the twin of Redis."""
        return connect_twin(self._roads.redis)

    async def serve_clients(self) -> None:
        """Let clients in, without a port."""
        self._runner = await self.make_runner()
        self._roads.listen(self._runner)


class SimulatedPresence(PresenceApp):
    """A replica of presence on the twin of Redis."""

    def __init__(self, name: str, roads: Roads) -> None:
        self._roads = roads
        super().__init__(_presence_settings(name))
        _quieten(self)

    def make_connect(self) -> Connect:
        """Reach the twin of Redis."""
        return connect_twin(self._roads.redis)


class Service(Protocol):
    """Any of them."""

    async def start(self, supervisor: Supervisor) -> None:
        """Serve."""

    def shutdown(self) -> Any:
        """Name the steps of the end."""


Compose = Callable[[str, Roads], Service]
ROLES: Final[dict[str, Compose]] = {
    "gateway": SimulatedGateway,
    "worker": SimulatedWorker,
    "presence": SimulatedPresence,
}
