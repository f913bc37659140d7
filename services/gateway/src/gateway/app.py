"""Owns the composition of the gateway: the only place that makes its adapters.

It is long for what it names: each part is made in a method of its own, so that tests and planted bugs replace just one.
"""

import secrets
import signal
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from chatcore.errors import ConfigurationError, Refusal
from chatcore.health import HealthServer
from chatcore.keys import Keys
from chatcore.lifecycle import Step, Supervisor
from chatcore.logs import get_logger
from chatcore.redis_client import Connect, connect_to
from chatcore.redis_clock import RedisClock
from chatcore.tracing import END_S, open_tracer
from chatcore.vitals import Vitals
from prometheus_client import CollectorRegistry

from gateway.admissions import Admissions
from gateway.connection import Connection
from gateway.door import Door, json_error
from gateway.drain import Drain, queued_bytes
from gateway.forwarding import Forwarder
from gateway.handshake import Handshake
from gateway.jwks import Jwks
from gateway.leaving import Reason
from gateway.listener import BACKLOG, listen
from gateway.metrics import GatewayMetrics
from gateway.outbox import Outbox
from gateway.recovery import Recovery
from gateway.registry import Registry
from gateway.settings import GatewaySettings
from gateway.subscriber import Dispatcher, Subscriber
from gateway.subscriptions import Subscriptions
from gateway.sweeper import Sweeper
from gateway.syncs import Syncs
from gateway.tokens import Tokens
from gateway.tracing import traced_dispatcher, traced_outbox
from gateway.watch import Watch

KEEPALIVE_S: Final = 15.0
"""Seconds that an unfinished request may live."""
MAX_HEADER_BYTES: Final = 20_480
"""Of a header, and of the line with the URL: aiohttp's own 8,190 are less than a token may have. Past it aiohttp
answers 400 in plain text before any of our checks. It bounds what a stranger makes us hold."""
FLUSH_S: Final = 1.5
"""Seconds to forward what the connections left, within the reserve (`gateway.leaving`)."""

log = get_logger(__name__)


class GatewayApp:
    """A gateway with its adapters."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.gateway_id = f"{settings.name}.{secrets.token_hex(4)}"
        self.keys = Keys(settings.key_prefix)
        self.prometheus = CollectorRegistry()
        self.metrics = GatewayMetrics(self.prometheus)
        self.vitals = Vitals(self.prometheus)
        self.tracer = open_tracer(settings, service="gateway", instance=self.gateway_id)
        self.registry = Registry()
        self.clock = RedisClock()
        self.drain = Drain(self.registry, self.metrics)
        self.jwks = self._make_jwks()
        self.tokens = self._make_tokens()
        self.connect = self.make_connect()
        self._make_ways()
        self._make_guard()
        self._make_shell()
        self.metrics.connections.set_function(lambda: len(self.registry.by_number))
        self.metrics.connections_max.set(settings.max_connections)
        self.metrics.measure(
            queued_bytes=lambda: queued_bytes(list(self.registry.by_number.values())),
            ack_backlog=lambda: self.outbox.ack_backlog,
        )
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._supervisor: Supervisor | None = None

    async def start(self, supervisor: Supervisor) -> None:
        """Serve. Redis and workers need not be there yet: readiness says so, and handshakes are refused."""
        if HttpRequestParser is HttpRequestParserPy:
            raise ConfigurationError("aiohttp's C extensions are missing: install a wheel for this platform")
        self._supervisor = supervisor
        self.vitals.settle()
        await self.health.start()
        for name, work in (
            ("vitals", self.vitals.watch()),
            ("outbox", self.outbox.run()),
            ("subscriber", self.subscriber.run()),
            ("watch", self.watch.run()),
            ("recovery", self.recovery.run()),
            ("syncs", self.syncs.run()),
            ("sweeper", self.sweeper.run()),
            ("drain", self.drain.run()),
        ):
            supervisor.spawn(name, work)
        if self.jwks is not None:
            supervisor.spawn("jwks", self.jwks.watch())
        await self.serve_clients()

    def shutdown(self) -> Sequence[Step]:
        """Let load balancers notice, send the clients elsewhere, forward what they left, then close what is open.

        The listener is last of what clients see: until then a handshake is told `draining` instead of nothing.
        """
        drain_s = self.settings.drain_s
        return (
            Step("wait_for_balancers", self._announce, within_s=self.settings.prestop_s + 1.0),
            Step("drain_connections", lambda: self.drain.drain(within_s=drain_s), within_s=drain_s + 1.0),
            Step("flush_outbox", self._flush, within_s=FLUSH_S),
            Step("stop_listening", self._stop_listening),
            Step("stop_tasks", self._stop_tasks),
            Step("close_redis", self._close),
            Step("stop_health", self.health.stop),
            Step("end_tracing", self._end_tracing, within_s=END_S + 0.5),
        )

    def make_connect(self) -> Connect:
        """Make the way to Redis."""
        return connect_to(self.settings.redis_dsn)

    def make_outbox(self) -> Outbox:
        """Make what goes to Redis."""
        return self.make_outbox_of(Outbox if self.tracer is None else traced_outbox(self.tracer))

    def make_outbox_of(self, kind: Callable[..., Outbox]) -> Outbox:
        """Make one of a kind."""
        return kind(
            self.connect,
            keys=self.keys,
            gateway=self.gateway_id,
            ttl_ms=self.settings.presence_ttl_s * 1000,
            metrics=self.metrics,
            unavailable=self._unavailable,
            unasked=self._unasked,
        )

    def make_syncs(self) -> Syncs:
        """Make what pulls syncs."""
        return Syncs(gateway=self.gateway_id, ask=self.outbox.request, metrics=self.metrics)

    def make_dispatcher(self) -> Dispatcher:
        """Make what gives publications to connections."""
        tracer = self.tracer
        kind = Dispatcher if tracer is None else traced_dispatcher(tracer, self.keys.channel(self.gateway_id))
        return kind(
            registry=self.registry,
            syncs=self.syncs,
            metrics=self.metrics,
            heard=self.watch.heard,
            leave=self.leave,
            clock=self.clock,
        )

    def leave(self) -> None:
        """End as after SIGTERM: somebody asked for it by hand."""
        log.info("asked_to_leave")
        signal.raise_signal(signal.SIGTERM)

    async def make_runner(self) -> web.AppRunner:
        """Make the HTTP server, listening nowhere yet."""
        app = web.Application()
        app.router.add_route("*", "/v1/ws", self.door.serve)
        app.router.add_route("*", "/{path:.*}", _not_found)
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=1.0,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        await runner.setup()
        return runner

    def _make_jwks(self) -> Jwks | None:
        settings = self.settings
        if not settings.jwks_file and not settings.jwks_url:
            return None
        return Jwks(file=settings.jwks_file, url=settings.jwks_url)

    def _make_tokens(self) -> Tokens:
        secret = self.settings.jwt_secret
        return Tokens(
            secret=secret.get_secret_value() if secret is not None else None,
            audience=self.settings.jwt_audience,
            issuer=self.settings.jwt_issuer,
            keys=self.jwks,
        )

    def _make_ways(self) -> None:
        """Make what goes to Redis and what decides of it."""
        self.outbox = self.make_outbox()
        self.forwarder = Forwarder(
            gateway=self.gateway_id,
            outbox=self.outbox,
            registry=self.registry,
            metrics=self.metrics,
            max_subscriptions=self.settings.max_subscriptions,
        )
        self.syncs = self.make_syncs()
        self.subscriptions = Subscriptions(registry=self.registry, announce=self.forwarder.announce)
        self.sweeper = Sweeper(
            registry=self.registry,
            cap_s=self.settings.max_connection_age_s,
            aged=self._aged,
            lapsed=self._lapsed,
            outbox=self.outbox,
            subscriptions=self.subscriptions,
            ttl_s=self.settings.presence_ttl_s,
        )

    def _make_guard(self) -> None:
        """Make what looks at Redis, and what reacts to it."""
        self.recovery = Recovery(
            registry=self.registry,
            outbox=self.outbox,
            syncs=self.syncs,
            subscriptions=self.subscriptions,
            drain=self.drain,
            renew=self._renew,
            welcome_epoch=self._know_epoch,
        )
        self.watch = Watch(
            self.connect,
            keys=self.keys,
            gateway=self.gateway_id,
            outbox=self.outbox,
            reactions=self.recovery,
            max_backlog=self.settings.max_backlog_entries,
            metrics=self.metrics,
            clock=self.clock,
        )

    def _make_shell(self) -> None:
        """Make what comes from Redis and from clients."""
        settings = self.settings
        self.subscriber = Subscriber(
            self.connect,
            keys=self.keys,
            gateway=self.gateway_id,
            dispatcher=self.make_dispatcher(),
            confirmed=self._confirmed,
            cut=self.watch.cut,
            damaged=self._damaged,
        )
        admissions = Admissions(settings.max_admissions)
        handshake = Handshake(
            settings, tokens=self.tokens, registry=self.registry, admissions=admissions, unready=self._unready
        )
        self.door = Door(
            settings,
            gateway=self.gateway_id,
            handshake=handshake,
            admissions=admissions,
            tokens=self.tokens,
            registry=self.registry,
            outbox=self.outbox,
            syncs=self.syncs,
            forwarder=self.forwarder,
            returned=self.recovery.returned,
            metrics=self.metrics,
        )
        self.health = HealthServer(
            host=settings.metrics_host,
            port=settings.metrics_port,
            registry=self.prometheus,
            readiness=self._missing,
            leaving=lambda: self.drain.leaving,
        )

    async def serve_clients(self) -> None:
        """Listen."""
        self._runner = await self.make_runner()
        listener = listen(self.settings.host, self.settings.port, shared=self.settings.reuse_port)
        await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        self.port = listener.getsockname()[1]
        log.info("listening", host=self.settings.host, port=self.port, gateway=self.gateway_id)

    # The forwarder answers for the outbox, the subscriber and the door for the recovery: each is made after it.
    def _unavailable(self, number: int, client_id: str) -> None:
        self.forwarder.unavailable(number, client_id)

    def _unasked(self, number: int, ref: str | None) -> None:
        self.forwarder.unasked(number, ref)

    def _renew(self) -> None:
        self.subscriber.renew()

    def _aged(self, connection: Connection) -> None:
        # Without a way through Redis the others have none either, most likely: nobody would let it in.
        if self.watch.missing() is None:
            self.drain.send_off(connection, Reason.REBALANCING)

    def _lapsed(self, connection: Connection) -> None:
        self.recovery.returned(connection)

    def _know_epoch(self, epoch: str) -> None:
        self.door.know_epoch(epoch)

    def _confirmed(self, again: bool) -> None:  # noqa: FBT001 - it is what was confirmed
        self.watch.confirmed()
        if again:
            self.recovery.gap()

    def _damaged(self) -> None:
        self.metrics.publications_damaged.inc()
        self.recovery.damaged()

    def _missing(self) -> str | None:
        return "draining" if self.drain.leaving else self.watch.missing()

    def _unready(self) -> Refusal | None:
        if self.drain.draining:
            return Refusal.DRAINING
        return Refusal.NOT_READY if self.watch.missing() else None

    async def _announce(self) -> None:
        """Wait only as a gateway that serves: one whose task failed, or that never started, has nobody to keep."""
        serving = self._supervisor is not None and not self._supervisor.failed
        await self.drain.announce(for_s=self.settings.prestop_s if serving else 0.0)

    async def _flush(self) -> None:
        if self._supervisor is not None:
            await self.outbox.flushed()

    async def _stop_listening(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _stop_tasks(self) -> None:
        if self._supervisor is not None:
            await self._supervisor.stop()

    async def _end_tracing(self) -> None:
        if self.tracer is not None:
            await self.tracer.close()

    async def _close(self) -> None:
        await self.watch.close()
        await self.outbox.close()
        await self.subscriber.close()


async def _not_found(_: web.Request) -> web.Response:
    return json_error(404, "not_found", "there is nothing here but /v1/ws")
