"""Owns the gateway's own channel: reads it, and gives each record to whom it is for. It parses no frame.

| Key                 | Type            | TTL | Written by | Read by |
|---------------------|-----------------|-----|------------|---------|
| `chat:gw:<gateway>` | Pub/Sub channel | -   | workers, presence, the gateway's own probe | here |
"""

import asyncio
from collections.abc import Callable
from random import uniform
from struct import error as StructError  # noqa: N812 - it is a class
from time import time
from typing import Any, Final

from chatcore.errors import Close, CodecError
from chatcore.keys import Keys
from chatcore.logs import get_logger
from chatcore.push import Kind, Timing, read_close, read_presence, records
from chatcore.redis_client import BROKEN, Connect, close_redis
from chatcore.redis_clock import RedisClock

from gateway.metrics import FRAMES_OUT, GatewayMetrics
from gateway.registry import Registry
from gateway.syncs import Syncs

TYPE_AT: Final = slice(len(b'{"type":"'), len(b'{"type":"') + 4)
"""The first four letters of a frame's type, with which it begins: no more of it is read, but for `USER_FROM`."""
TYPES: Final = {name[:4].encode(): name for name in FRAMES_OUT}
PRESENCE: Final = b"pres"
USER_FROM: Final = len(b'{"type":"presence","user":"')
"""Where a presence frame names its user, in letters that JSON never escapes."""

log = get_logger(__name__)


class Dispatcher:
    """Gives each record of a publication to its connection."""

    def __init__(
        self,
        *,
        registry: Registry,
        syncs: Syncs,
        metrics: GatewayMetrics,
        heard: Callable[[bytes], None],
        leave: Callable[[], None],
        clock: RedisClock,
    ) -> None:
        self._connections, self._registry, self._syncs = registry.by_number, registry, syncs
        self._heard, self._leave = heard, leave
        self._metrics, self._clock = metrics, clock

    def dispatch(self, publication: bytes) -> None:
        """Take one publication. Raises `CodecError` at a damaged one."""
        frames: dict[bytes, int] = {}
        timing = b""
        for kind, number, payload in records(publication):
            if kind == Kind.ANSWER or kind == Kind.FRAME:
                connection = self._connections.get(number)
                if connection is not None:
                    if kind == Kind.ANSWER:
                        connection.session.end_send()
                    connection.push(payload)
                    sort = payload[TYPE_AT]
                    if sort == PRESENCE:
                        connection.session.is_news(_user_of(payload), payload)
                    frames[sort] = frames.get(sort, 0) + 1
            elif kind == Kind.TIMING:
                timing = payload
            else:
                self._rarer(kind, number, payload)
        self._measure(frames, timing)

    def _measure(self, frames: dict[bytes, int], timing: bytes) -> None:
        """Count and time once per publication what came with it."""
        counts = self._metrics.frames_out.counts
        for sort, count in frames.items():
            counts[TYPES.get(sort, "other")] += count
        if not timing:
            return
        times, now_ms = Timing.decode(timing), time() * 1000
        for came_ms, sends in times.turns.items():
            self._metrics.sent_seconds.observe(max(0.0, now_ms - came_ms) / 1000, sends)
        if frames:
            age_ms = max(0.0, self._clock.now_ms() - times.published_ms)
            self._metrics.push_seconds.observe(age_ms / 1000, sum(frames.values()))

    def _rarer(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Kind.PROBE:
            self._heard(payload)
        elif kind == Kind.PAGE:
            self._syncs.page(number, payload)
        elif kind == Kind.UNSYNCED:
            self._syncs.unsynced(number, payload)
        elif kind == Kind.PRESENCE:
            user, frame = read_presence(payload)
            watchers = [one for one in self._registry.watchers.get(user, ()) if one.session.is_news(user, frame)]
            self._metrics.frames_out.counts["presence"] += len(watchers)
            for watcher in watchers:
                watcher.push(frame)
        elif kind == Kind.ADMISSION:
            if self._syncs.admission(number, payload) is not None:
                self._close(number, Close.REVOKED, "revoked")
        elif kind == Kind.CLOSE:
            self._close(number, *read_close(payload))
        elif kind == Kind.LEAVE:
            self._leave()
        # A kind that this version does not know is left out: during a roll-out, a newer worker may send one.

    def _close(self, number: int, code: int, reason: str) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.close(code, reason)


def _user_of(frame: bytes) -> str:
    return frame[USER_FROM:].partition(b'"')[0].decode()


class Subscriber:
    """Reads the channel, and subscribes again after any failure.

    `confirmed` is told of each subscription, and whether it is not the first; `cut`, that one broke; `damaged`, that a
    publication could not be read to its end.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        keys: Keys,
        gateway: str,
        dispatcher: Dispatcher,
        confirmed: Callable[[bool], None],
        cut: Callable[[], None],
        damaged: Callable[[], None],
    ) -> None:
        self._redis = connect(name=f"{gateway}-subscriber", connections=2)
        self._channel = keys.channel(gateway)
        self._dispatcher = dispatcher
        self._confirmed, self._cut, self._damaged = confirmed, cut, damaged
        self._confirmations = 0
        self._told_lost = False
        self._reading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._reading = asyncio.create_task(self._read(), name="subscription")
            try:
                await asyncio.wait([self._reading])
            finally:
                self._reading.cancel()
            self._cut()
            if not self._reading.cancelled() and (error := self._reading.exception()) is not None:
                if not isinstance(error, BROKEN):
                    raise error
                self._lost(error)
            await asyncio.sleep(uniform(0.05, 0.3))  # noqa: S311 - jitter

    def renew(self) -> None:
        """Subscribe again on a new connection: this one tells nothing."""
        if self._reading is not None:
            self._reading.cancel()

    async def close(self) -> None:
        """Close the connection."""
        await close_redis(self._redis)

    async def _read(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            while True:
                answer: Any = await pubsub.parse_response(block=True)
                if answer[0] == b"message":
                    self._take(answer[2])
                elif answer[0] == b"subscribe":
                    self._confirmations += 1
                    self._told_lost = False
                    # The second one means a gap, also when redis-py connected again without a word (R6).
                    self._confirmed(self._confirmations > 1)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py's own gap

    def _lost(self, error: BaseException) -> None:
        """Log an outage once, not each try in it."""
        if not self._told_lost:
            self._told_lost = True
            log.warning("subscription_lost", error=str(error))

    def _take(self, publication: bytes) -> None:
        try:
            self._dispatcher.dispatch(publication)
        except (CodecError, ValueError, StructError) as error:
            # What was in it after the damage is for connections that nobody can name any more (R5).
            log.error("publication_unreadable", error=str(error), size_bytes=len(publication))  # noqa: TRY400 - no trace
            self._damaged()
