"""Owns the port of its own on which a service tells that it lives, that it is ready, and its metrics.

`/healthz` answers as long as the event loop turns and never looks at a dependency: a database that is down must not
make an orchestrator kill every process that waits for it. `/readyz` names what is missing. `/readyz?exclude=shared`
leaves out what all replicas share, once this one had all of it: else one Redis that is down takes every replica out of
the load balancer, and nobody is left to tell the clients what is the matter.
"""

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from chatcore.errors import ConfigurationError
from chatcore.logs import get_logger

SHARED: Final = "shared"
"""What `/readyz?exclude=` leaves out: all that is missing but for the process's own leaving."""

log = get_logger(__name__)


class HealthServer:
    """Serves `/healthz`, `/readyz` and `/metrics`. `readiness` gives what is missing, or None when nothing is.

    `leaving` tells whether this process itself is on its way out.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        readiness: Callable[[], str | None],
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._host, self._port = host, port
        self._registry = registry
        self._readiness = readiness
        self._leaving = leaving
        self._was_ready = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; gives the port. Raises `ConfigurationError` when it cannot be had."""
        app = web.Application()
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {self._host}:{self._port}: {error}") from error
        self.declare()
        port: int = self._runner.addresses[0][1]
        log.info("health_listening", host=self._host, port=port)
        return port

    def declare(self) -> None:
        """Declare the metric of its own, once per registry."""
        ready = Gauge("chat_ready", "1 while nothing is missing to serve, as /readyz says.", registry=self._registry)
        ready.set_function(lambda: float(self._readiness() is None))

    async def stop(self) -> None:
        """Stop listening. Safe to repeat."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._readiness()
        self._was_ready = self._was_ready or reason is None
        excused = request.query.get("exclude") == SHARED and self._was_ready and not self._leaving()
        return web.Response(text=f"{reason or 'ready'}\n", status=503 if reason and not excused else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
