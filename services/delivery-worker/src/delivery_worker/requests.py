"""Owns the requests stream: syncs, histories and lists, answered by any worker.

| Key                   | Type          | TTL | Written by | Read by |
|-----------------------|---------------|-----|------------|---------|
| `chat:sync`           | stream, group | -   | gateways; settled here | here |
| `chat:devices:{user}` | zset          | -   | gateways, presence | here |
| `chat:gw:<gateway>`   | channel       | -   | here       | the gateway |

An entry is settled whatever came of it: who asked asks again. Entries older than that are dropped unread.
"""

import asyncio
from collections.abc import Sequence
from random import uniform
from time import monotonic, time
from typing import Any, Final

from chatcore.delivery.frames import RETRY_AFTER_MS, encode_error
from chatcore.errors import Code, CodecError, SessionLost, StoreUnavailable
from chatcore.full_redis import run_anyway
from chatcore.ids import conversation_id
from chatcore.keys import SYNC_GROUP, Keys
from chatcore.logs import get_logger
from chatcore.push import Kind
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.stream import FIELD, ConversationsRequest, HistoryRequest, Request, SyncRequest, decode_requests
from pymysql.err import MySQLError

from delivery_worker.metrics import REQUESTS, WorkerMetrics
from delivery_worker.pager import Member, conversations_frame, decode_cursor, history_frame
from delivery_worker.router import Publications, RedisRouter, Routes
from delivery_worker.store.reads import ReadStore
from delivery_worker.syncs import Syncer

DEFAULT_LIMIT: Final = 50
BLOCK_MS: Final = 1_000
READ_COUNT: Final = 32
STALE_MS: Final = 5_000
"""A gateway has asked again by then (R4b)."""
CLAIM_S: Final = 5.0
CLAIM_IDLE_MS: Final = 10_000
"""A request that a worker read and did not settle for so long: the worker died. It is dropped; it was asked again."""
TOGETHER: Final = 16
"""Requests, and not many more, that one session answers together: their reads are one."""
FAILED: Final = (StoreUnavailable, MySQLError)

log = get_logger(__name__)
Entry = tuple[bytes, bytes]


class Answerer:
    """Answers requests that were read together, on one MySQL session."""

    def __init__(self, reads: ReadStore, syncer: Syncer, metrics: WorkerMetrics) -> None:
        self._reads = reads
        self._syncer = syncer
        self._metrics = metrics

    async def answer(self, requests: Sequence[Request], publications: Publications, routes: Routes) -> None:
        """Add the answers, or that there is none now. Never raises but on cancelling."""
        groups: list[list[Request]] = [[request for request in requests if isinstance(request, SyncRequest)]]
        groups += [[request] for request in requests if not isinstance(request, SyncRequest)]
        for group in groups if groups[0] else groups[1:]:
            began = monotonic()
            await self._answer(group, publications, routes)
            self._metrics.requests.counts[REQUESTS[type(group[0])]] += len(group)
            self._metrics.request_seconds.observe(monotonic() - began, len(group))

    async def _answer(self, requests: Sequence[Request], publications: Publications, routes: Routes) -> None:
        """Answer syncs together, or one request of another kind."""
        try:
            await self._try(requests, publications, routes)
        except FAILED as error:
            if len(requests) > 1 and isinstance(error, MySQLError):
                # One that MySQL refuses must not take the others with it.
                for request in requests:
                    await self._answer([request], publications, routes)
                return
            log.warning("request_failed", kind=type(requests[0]).__name__, error=str(error))
            for request in requests:
                self._metrics.requests_failed.inc()
                _answer_later(request, publications)

    async def _try(self, requests: Sequence[Request], publications: Publications, routes: Routes) -> None:
        """Answer, and once more at once where the session had ended unheard: MySQL may have been back for long.

        Nothing was told by then, and registering a device again changes nothing. Else each answerer of each worker
        would fail a request before all have new sessions.
        """
        until = asyncio.get_running_loop().time() + STALE_MS / 1000
        try:
            await self._once(requests, publications, routes)
        except SessionLost as error:
            log.info("session_lost", error=str(error))
            try:
                async with asyncio.timeout_at(until):
                    await self._once(requests, publications, routes)
            except TimeoutError as late:
                raise StoreUnavailable("MySQL: no answer before it is asked again") from late

    async def _once(self, requests: Sequence[Request], publications: Publications, routes: Routes) -> None:
        first = requests[0]
        if isinstance(first, SyncRequest):
            await self._syncer.answer([r for r in requests if isinstance(r, SyncRequest)], publications, routes)
            return
        frame = await (self._history(first) if isinstance(first, HistoryRequest) else self._list(first))
        publications.add(first.gateway, Kind.FRAME, first.connection, frame)

    async def _history(self, request: HistoryRequest) -> bytes:
        forward = request.after is not None
        conversation = conversation_id(request.user, request.peer)
        member, rows = await self._reads.history(
            request.user, conversation, request.before, request.after, request.limit + 1
        )
        member = member or Member(conversation, request.peer, 0, 0, 0, 0, 0, 0, 0, 0)
        return history_frame(request.user, member, rows, ref=request.ref, limit=request.limit, forward=forward)

    async def _list(self, request: ConversationsRequest) -> bytes:
        try:
            cursor = decode_cursor(request.cursor) if request.cursor else None
        except ValueError:
            return encode_error(Code.INVALID_FRAME, "no such `cursor`", ref=request.ref)
        items = await self._reads.conversations(request.user, request.device, cursor, request.limit + 1)
        return conversations_frame(request.user, items, ref=request.ref, limit=request.limit)


def _answer_later(request: Request, publications: Publications) -> None:
    if isinstance(request, SyncRequest):
        publications.add(request.gateway, Kind.UNSYNCED, request.connection, str(request.number).encode())
        return
    frame = encode_error(Code.UNAVAILABLE, "the store did not answer", ref=request.ref, retry_after_ms=RETRY_AFTER_MS)
    publications.add(request.gateway, Kind.FRAME, request.connection, frame)


class Requests:
    """Reads `chat:sync`, and has its answerers answer."""

    def __init__(
        self,
        connect: Connect,
        *,
        keys: Keys,
        worker: str,
        router: RedisRouter,
        answerers: Sequence[Answerer],
        metrics: WorkerMetrics,
    ) -> None:
        self._keys = keys
        self._worker = worker
        self._router = router
        self._answerers = answerers
        self._metrics = metrics
        self._reader = connect(name=f"{worker}-requests", connections=2)
        self._redis = connect(name=f"{worker}-settler", connections=2 + len(answerers))
        self._queue: asyncio.Queue[Entry] = asyncio.Queue(maxsize=len(answerers))
        self._offset_ms = 0.0
        self._claimed_at = 0.0

    async def run(self) -> None:
        """Read and answer until cancelled. A failing store is waited out."""
        async with asyncio.TaskGroup() as group:
            for index, answerer in enumerate(self._answerers):
                group.create_task(self._serve(answerer), name=f"answerer-{index}")
            while True:
                try:
                    await self._read()
                except StoreUnavailable as error:
                    log.warning("store_unavailable", error=str(error))
                    await asyncio.sleep(uniform(0.1, 0.5))  # noqa: S311 - jitter

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._reader)
        await close_redis(self._redis)

    async def _read(self) -> None:
        await self._tidy()
        command = ("XREADGROUP", "GROUP", SYNC_GROUP, self._worker, "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS")
        try:
            answer: Any = await answered(self._reader.execute_command(*command, self._keys.sync, ">"))  # type: ignore[no-untyped-call]  # redis-py's own gap
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group()
            return
        for _, entries in answer or ():
            for entry_id, fields in entries:
                # The queue is as long as there are answerers: what waits, waits in the stream.
                await self._queue.put((entry_id, dict(fields or {}).get(FIELD, b"")))

    async def _make_group(self) -> None:
        try:
            await answered(run_anyway(self._redis, ("XGROUP", "CREATE", self._keys.sync, SYNC_GROUP, "0", "MKSTREAM")))
        except StoreUnavailable as error:
            if "BUSYGROUP" not in str(error):  # another worker was first
                raise

    async def _tidy(self) -> None:
        """Every few seconds, read Redis's clock and drop what dead workers left."""
        if monotonic() - self._claimed_at < CLAIM_S:
            return
        seconds, micros = await answered(self._redis.time())
        self._offset_ms = seconds * 1000 + micros / 1000 - time() * 1000
        self._claimed_at = monotonic()
        try:
            claimed: Any = await answered(
                self._redis.xautoclaim(
                    self._keys.sync, SYNC_GROUP, self._worker, min_idle_time=CLAIM_IDLE_MS, count=100, justid=True
                )
            )
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error).lower():
                raise
            await self._make_group()
            return
        if claimed:
            self._metrics.requests_stale.inc(len(claimed))
            await self._settle(*claimed)

    async def _serve(self, answerer: Answerer) -> None:
        while True:
            entries = [await self._queue.get()]
            requests = self._requests(*entries[0])
            while len(requests) < TOGETHER and not self._queue.empty():
                entries.append(self._queue.get_nowait())
                requests += self._requests(*entries[-1])
            try:
                await self._answer(answerer, requests)
                await self._settle(*(entry_id for entry_id, _ in entries))
            except StoreUnavailable as error:
                log.warning("answer_lost", error=str(error))

    async def _answer(self, answerer: Answerer, requests: Sequence[Request]) -> None:
        if not requests:
            return
        publications = Publications()
        routes = await self._router.routes({r.user for r in requests if isinstance(r, SyncRequest)})
        await answerer.answer(requests, publications, routes)
        await self._router.tell(publications)

    def _requests(self, entry_id: bytes, data: bytes) -> list[Request]:
        age_ms = max(0.0, time() * 1000 + self._offset_ms - int(entry_id.partition(b"-")[0]))
        self._metrics.request_wait.observe(age_ms / 1000)
        if age_ms > STALE_MS:
            self._metrics.requests_stale.inc()
            return []
        try:
            return decode_requests(data)
        except CodecError as error:
            log.warning("request_unreadable", error=str(error))
            return []

    async def _settle(self, *ids: bytes) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xack(self._keys.sync, SYNC_GROUP, *ids)
        pipeline.xdel(self._keys.sync, *ids)
        await answered(pipeline.execute())
