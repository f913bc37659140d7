"""Owns the composition of a worker: the only place that makes its adapters."""

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial

from chatcore.delivery import Memory
from chatcore.health import HealthServer
from chatcore.keys import Keys
from chatcore.lifecycle import Step, Supervisor
from chatcore.redis_client import Connect, connect_to
from chatcore.redis_clock import RedisClock
from chatcore.tracing import END_S, open_tracer
from chatcore.vitals import Vitals
from prometheus_client import CollectorRegistry

from delivery_worker.batch import Batch
from delivery_worker.committer import Committer
from delivery_worker.inbox import RedisInbox
from delivery_worker.loop import Limits, WorkerLoop
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.observer import Observer
from delivery_worker.requests import Answerer, Requests
from delivery_worker.router import RedisRouter
from delivery_worker.schema import check_schema
from delivery_worker.settings import WorkerSettings
from delivery_worker.store.batches import MySQLBatchStore
from delivery_worker.store.devices import DeviceStore
from delivery_worker.store.ownership import Meta, MySQLOwnerStore
from delivery_worker.store.reads import ReadStore
from delivery_worker.store.session import BATCH_IDLE_S, READ_IDLE_S, Session
from delivery_worker.syncs import Syncer
from delivery_worker.tracing import TracedCommitter, TracedRouter, Traces
from delivery_worker.undelivered import Undelivered


class WorkerApp:
    """A worker with its adapters. A test may replace any of them before `start`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.worker = f"{settings.name}.{secrets.token_hex(4)}"  # random per process start (R1b)
        self.keys = Keys(settings.key_prefix)
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.vitals = Vitals(self.registry)
        self.tracer = open_tracer(settings, service="delivery-worker", instance=self.worker)
        self.traces = Traces(self.tracer, keys=self.keys, worker=self.worker) if self.tracer is not None else None
        self.connect = self.make_connect()
        self.clock = RedisClock()
        self.undelivered = Undelivered()
        self.session = self.make_session(idle_s=BATCH_IDLE_S)
        self.owners = MySQLOwnerStore(self.session, owner=self.worker)
        self.batches = MySQLBatchStore(self.session, owner=self.worker)
        self.inbox = RedisInbox(self.connect, keys=self.keys, worker=self.worker)
        self.router = self.make_router()
        self.requests_router = self.make_router(connections=settings.sync_connections)
        self.read_sessions = [self.make_session(idle_s=READ_IDLE_S) for _ in range(settings.sync_connections)]
        self._watch_sessions()
        self.loop: WorkerLoop | None = None
        self.observer = Observer(
            self.connect,
            keys=self.keys,
            worker=self.worker,
            clock=self.clock,
            undelivered=self.undelivered,
            metrics=self.metrics,
            owned=lambda: self.loop.owned if self.loop is not None else frozenset(),
        )
        self._supervisor: Supervisor | None = None
        self.requests: Requests | None = None
        self.health = HealthServer(
            host=settings.metrics_host, port=settings.metrics_port, registry=self.registry, readiness=self._missing
        )

    async def start(self, supervisor: Supervisor) -> None:
        """Check the schema, then work. Raises `ConfigurationError` for a schema that is too old."""
        self._supervisor = supervisor
        await self.check_schema()
        meta = await self.owners.meta()
        self.vitals.settle()
        await self.health.start()
        self.loop = self.make_loop(meta)
        self.requests = self.make_requests(meta)
        self.metrics.partitions.set(meta.partitions)
        self.metrics.oldest.read = self.loop.oldest_s
        supervisor.spawn("vitals", self.vitals.watch())
        supervisor.spawn("observer", self.observer.run())
        supervisor.spawn("requests", self.requests.run())
        supervisor.spawn("loop", self.loop.run())

    def shutdown(self) -> Sequence[Step]:
        """Finish the batch in hand and leave; then close what is open."""
        return (
            Step("finish_batch", self._finish, within_s=12.0),
            Step("stop_tasks", self._stop_tasks),
            Step("close_stores", self._close),
            Step("stop_health", self.health.stop),
            Step("end_tracing", self._end_tracing, within_s=END_S + 0.5),
        )

    def make_connect(self) -> Connect:
        """Make the way to Redis."""
        return connect_to(self.settings.redis_dsn)

    def make_session(self, *, idle_s: int) -> Session:
        """Make a session on MySQL."""
        return Session(self.settings, idle_s=idle_s, failed=self.metrics.database_error)

    async def check_schema(self) -> None:
        """Refuse a schema that is too old. Raises `ConfigurationError`."""
        await asyncio.to_thread(check_schema, self.settings)

    def make_router(self, connections: int = 1) -> RedisRouter:
        """Make a router for `connections` tasks."""
        settings = self.settings
        kind = RedisRouter if self.traces is None else partial(TracedRouter, traces=self.traces)
        return kind(
            self.connect,
            keys=self.keys,
            worker=self.worker,
            dead_letters=settings.dead_letters,
            connections=connections + 1,
            clock=self.clock,
        )

    def make_memory(self) -> Memory:
        """Make what the loop remembers."""
        return Memory()

    def make_committer(self, memory: Memory) -> Committer:
        """Make what commits the loop's batches."""
        kind = Committer if self.traces is None else partial(TracedCommitter, traces=self.traces)
        return kind(self.batches, memory, self.metrics, self.undelivered)

    def make_loop(self, meta: Meta) -> WorkerLoop:
        """Make the loop over the partitions."""
        memory = self.make_memory()
        return WorkerLoop(
            worker=self.worker,
            meta=meta,
            inbox=self.inbox,
            owners=self.owners,
            committer=self.make_committer(memory),
            memory=memory,
            router=self.router,
            metrics=self.metrics,
            limits=Limits(events=self.settings.batch_events, bytes=self.settings.batch_bytes),
            undelivered=self.undelivered,
            clock=self.clock,
            make_batch=Batch if self.traces is None else self.traces.batch,
        )

    def make_syncer(self, reads: ReadStore, session: Session, meta: Meta) -> Syncer:
        """Make what answers syncs on one session."""
        return Syncer(reads, DeviceStore(session), database_epoch=meta.database_epoch)

    def make_requests(self, meta: Meta) -> Requests:
        """Make the answering of syncs, histories and lists."""
        answerers = []
        for session in self.read_sessions:
            reads = ReadStore(session)
            syncer = self.make_syncer(reads, session, meta)
            answerers.append(Answerer(reads, syncer, self.metrics))
        return Requests(
            self.connect,
            keys=self.keys,
            worker=self.worker,
            router=self.requests_router,
            answerers=answerers,
            metrics=self.metrics,
        )

    def _watch_sessions(self) -> None:
        kinds = {"batches": [self.session], "requests": self.read_sessions}
        metrics = self.metrics
        metrics.sessions.read = lambda: {kind: len(sessions) for kind, sessions in kinds.items()}
        metrics.sessions_busy.read = lambda: {kind: sum(one.busy_s for one in them) for kind, them in kinds.items()}

    def _missing(self) -> str | None:
        if self.loop is None:
            return "starting"
        return None if self.loop.alive else "a store does not answer"

    async def _finish(self) -> None:
        if self.loop is not None:
            await self.loop.stop()

    async def _stop_tasks(self) -> None:
        if self._supervisor is not None:
            await self._supervisor.stop()

    async def _end_tracing(self) -> None:
        if self.tracer is not None:
            await self.tracer.close()

    async def _close(self) -> None:
        for session in (self.session, *self.read_sessions):
            session.close()
        await self.inbox.close()
        await self.observer.close()
        await self.router.close()
        await self.requests_router.close()
        if self.requests is not None:
            await self.requests.close()
