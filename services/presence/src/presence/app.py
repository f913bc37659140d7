"""Owns the composition of presence: the only place that makes its adapters."""

import secrets
from collections.abc import Sequence

from chatcore.health import HealthServer
from chatcore.keys import Keys
from chatcore.lifecycle import Step, Supervisor
from chatcore.redis_client import Connect, connect_to
from chatcore.vitals import Vitals
from prometheus_client import CollectorRegistry

from presence.devices import Devices
from presence.events import PresenceStream
from presence.metrics import PresenceMetrics
from presence.settings import PresenceSettings
from presence.sweeper import Sweeper


class PresenceApp:
    """A replica of presence with its adapters."""

    def __init__(self, settings: PresenceSettings) -> None:
        self.settings = settings
        self.replica = f"{settings.name}.{secrets.token_hex(4)}"
        self.keys = Keys(settings.key_prefix)
        self.registry = CollectorRegistry()
        self.metrics = PresenceMetrics(self.registry)
        self.vitals = Vitals(self.registry)
        self.connect = self.make_connect()
        self.devices = self.make_devices("events")
        self.swept_devices = self.make_devices("sweeper")
        self.stream = PresenceStream(
            self.connect, keys=self.keys, consumer=self.replica, devices=self.devices, metrics=self.metrics
        )
        self.sweeper = Sweeper(
            devices=self.swept_devices, behind=lambda: self.stream.behind, share=self._share, metrics=self.metrics
        )
        self.health = HealthServer(
            host=settings.metrics_host, port=settings.metrics_port, registry=self.registry, readiness=self._missing
        )
        self._supervisor: Supervisor | None = None

    async def start(self, supervisor: Supervisor) -> None:
        """Serve. Redis need not be there yet: it is waited for, and readiness says so."""
        self._supervisor = supervisor
        self.vitals.settle()
        await self.health.start()
        supervisor.spawn("vitals", self.vitals.watch())
        supervisor.spawn("stream", self.stream.run())
        supervisor.spawn("sweeper", self.sweeper.run())

    def shutdown(self) -> Sequence[Step]:
        """Finish what was read, so that nothing stays pending; then close what is open."""
        return (
            Step("finish_batch", self._finish),
            Step("stop_tasks", self._stop_tasks),
            Step("close_redis", self._close),
            Step("stop_health", self.health.stop),
        )

    def make_connect(self) -> Connect:
        """Make the way to Redis."""
        return connect_to(self.settings.redis_dsn)

    def make_devices(self, purpose: str) -> Devices:
        """Make the adapter to the devices' keys for one task."""
        return Devices(
            self.connect,
            keys=self.keys,
            name=f"{self.replica}-{purpose}",
            ttl_ms=self.settings.presence_ttl_s * 1000,
            metrics=self.metrics,
        )

    def _share(self, sweep_until: int) -> None:
        self.devices.sweep_until = sweep_until

    def _missing(self) -> str | None:
        return None if self.stream.alive else "Redis does not answer"

    async def _finish(self) -> None:
        if self._supervisor is not None:
            await self.stream.stop()

    async def _stop_tasks(self) -> None:
        if self._supervisor is not None:
            await self._supervisor.stop()

    async def _close(self) -> None:
        await self.stream.close()
        await self.devices.close()
        await self.swept_devices.close()
