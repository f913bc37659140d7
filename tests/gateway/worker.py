"""A scripted worker: it answers a gateway through a real Redis, and keeps what it was sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from chatcore.errors import Refusal
from chatcore.keys import Keys
from chatcore.push import Admission, Kind, Page, record
from chatcore.stream import (
    FIELD,
    AckEvent,
    Event,
    PresenceEvent,
    Request,
    SendEvent,
    SyncRequest,
    decode_entry,
    decode_presence,
    decode_requests,
)

from tests.gateway.waiting import until

PARTITIONS = 4
DONE = b'{"type":"sync","conversations":[],"messages":[],"done":true,"token":"t1"}'


class Worker:
    """Answers everything, unless told otherwise."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis, self.keys, self.prefix = redis, keys, keys.prefix
        self._at: dict[str, str] = {keys.inbox(p): "0" for p in range(PARTITIONS)}
        self._at |= {keys.sync: "0", keys.presence: "0"}
        self._task: asyncio.Task[None] | None = None
        self.requests: list[Request] = []
        self.events: list[Event] = []
        self.presence: list[PresenceEvent] = []
        self.refusal: Refusal | None = None
        self.admitting = self.answering = True
        self.pages: list[bytes] = [DONE]
        self.seq = 0

    async def start(self) -> None:
        await self.beat()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def beat(self, *, epoch: str = "e1") -> None:
        await self._redis.hset(self.keys.meta, mapping={"partitions": PARTITIONS, "epoch": epoch})

    async def tell(self, gateway: str, kind: Kind, connection: int, payload: bytes) -> None:
        await self._redis.publish(self.keys.channel(gateway), record(kind, connection, payload))

    async def until(self, condition: Callable[[], Any], *, within_s: float = 8.0) -> Any:
        """Wait for a condition with a deadline."""
        return await until(condition, within_s=within_s)

    def syncs(self, user: str) -> list[SyncRequest]:
        return [r for r in self.requests if isinstance(r, SyncRequest) and r.user == user]

    async def _run(self) -> None:
        while True:
            got = await self._redis.xread(dict(self._at), block=50)
            for stream, entries in got or ():
                name = stream.decode()
                for entry_id, fields in entries:
                    self._at[name] = entry_id.decode()
                    await self._take(name, fields[FIELD])

    def rewind(self) -> None:
        """Redis was emptied: read from the beginning."""
        self._at = dict.fromkeys(self._at, "0")

    async def _take(self, stream: str, data: bytes) -> None:
        if stream == self.keys.presence:
            self.presence += decode_presence(data)
        elif stream == self.keys.sync:
            for request in decode_requests(data):
                self.requests.append(request)
                if isinstance(request, SyncRequest) and self.admitting:
                    await self._sync(request)
        else:
            for event in decode_entry(data).events:
                self.events.append(event)
                if isinstance(event, SendEvent) and self.answering:
                    await self._sent(event)

    async def _sync(self, request: SyncRequest) -> None:
        channel = self.keys.channel(request.gateway)
        parts = []
        if request.admit:
            admission = Admission(request.number, self.refusal)
            parts.append(record(Kind.ADMISSION, request.connection, admission.encode()))
        if self.refusal is None:
            at = int(request.position or 0)
            last = at + 1 == len(self.pages)
            page = Page(request.number, "" if last else str(at + 1), "t1" if last else "", self.pages[at])
            parts.append(record(Kind.PAGE, request.connection, page.encode()))
        await self._redis.publish(channel, b"".join(parts))

    async def _sent(self, event: SendEvent) -> None:
        self.seq += 1
        frame = {"type": "sent", "id": event.client_id, "peer": event.peer, "seq": self.seq, "ts": 1}
        await self.tell(event.origin.gateway, Kind.ANSWER, event.origin.connection, orjson.dumps(frame))

    def acks(self) -> list[AckEvent]:
        return [event for event in self.events if isinstance(event, AckEvent)]

    def sends(self) -> list[SendEvent]:
        return [event for event in self.events if isinstance(event, SendEvent)]
