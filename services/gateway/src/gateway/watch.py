"""Owns the look at Redis: is our way through it whole, was it wiped, how full are the streams, which epoch is it.

| Key                 | Type            | TTL  | Written by | Read by |
|---------------------|-----------------|------|------------|---------|
| `chat:gateway:<id>` | string          | 10 s | here       | here: gone before its time, Redis was wiped (R4a) |
| `chat:meta`         | hash            | -    | workers    | here |
| `chat:in:{p}`       | stream          | -    | the outbox | here: its length |
| `chat:gw:<gateway>` | Pub/Sub channel | -    | here: the probe (R6) | the subscriber |
"""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Protocol

from chatcore.errors import StoreUnavailable
from chatcore.full_redis import ALLOW_FULL
from chatcore.keys import Keys
from chatcore.logs import get_logger
from chatcore.push import Kind, record
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.redis_clock import RedisClock

from gateway.metrics import GatewayMetrics
from gateway.outbox import Outbox

LOOK_S: Final = 1.0
PROBE_LOOKS: Final = 2
"""Looks between two probes: 2 s (R6)."""
LEAST_REST_S: Final = 0.05
"""Seconds between two looks at least."""
KEY_TTL_MS: Final = 10_000
MAX_MISSES: Final = 3
CUT_S: Final = 1.0
"""Seconds for a subscription that broke to be confirmed and heard again. A shared Redis that hiccups for less makes no
gateway unready."""
LOST_S: Final = 60.0
"""Seconds without a way through Redis after which the clients are sent elsewhere."""
RENEW_S: Final = 6.0
"""Seconds between two subscriptions anew while probes are missed."""

SIGN: Final = f"{ALLOW_FULL}return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1], 'GET')"
"""In a full Redis too (R5b): a key that expired there would look like a wipe, and everybody would be entered again.

Its value is for people: how far this process's clock, by which tokens expire, is ahead of Redis's, in ms."""

log = get_logger(__name__)


class Reactions(Protocol):
    """What the gateway does about what was seen."""

    def wiped(self) -> None:
        """Redis lost everything."""

    def unheard(self) -> None:
        """The subscription tells nothing."""

    def lost(self) -> None:
        """There has been no way through Redis for long."""

    def regained(self) -> None:
        """After a loss that was told, there is a way through Redis again."""

    def epoch_known(self, epoch: str) -> None:
        """Tell the database epoch, at every look."""


class Watch:
    """Looks every second."""

    def __init__(
        self,
        connect: Connect,
        *,
        keys: Keys,
        gateway: str,
        outbox: Outbox,
        reactions: Reactions,
        max_backlog: int,
        metrics: GatewayMetrics,
        clock: RedisClock,
    ) -> None:
        self._redis = connect(name=f"{gateway}-watch", connections=2)
        self._keys, self._gateway, self._outbox = keys, gateway, outbox
        self._reactions, self._max_backlog, self._metrics = reactions, max_backlog, metrics
        self._looks = self._sent = self._heard = self._misses = 0
        self._known = self._answering = False
        self._clock, self._probed_at = clock, 0.0
        self._whole_at = self._renewed_at = monotonic()
        self._told_lost = False
        self._soon = asyncio.Event()
        """Look without waiting for the time: there is something to prove."""
        self._cut_at: float | None = float("-inf")
        """Since when the subscription has not proven itself; None while it has."""
        self._proof = 1
        """The first probe that proves it."""
        self.subscribed = False
        """It was confirmed once: from then on probes must be heard."""

    def heard(self, payload: bytes) -> None:
        """The probe came back."""
        if payload.isdigit():
            if int(payload) == self._sent > self._heard:
                self._metrics.probe_seconds.observe(monotonic() - self._probed_at)
            self._heard = max(self._heard, int(payload))
            if int(payload) >= self._proof:
                self._cut_at = None

    def cut(self) -> None:
        """The subscription broke."""
        if self._cut_at is None:
            self._cut_at = monotonic()

    def confirmed(self) -> None:
        """There is a subscription, which the next probe proves, at once."""
        self.subscribed = True
        self._heard, self._proof = self._sent, self._sent + 1
        self._soon.set()

    def missing(self) -> str | None:
        """Say what is missing to serve."""
        if not self._outbox.partitions:
            return "no worker has told the partitions"
        if not self._answering:
            return "Redis does not answer"
        if not self._is_heard():
            return "the subscription is not heard"
        return None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            began = monotonic()
            try:
                await self._look(probing=self._looks % PROBE_LOOKS == 0 or self._cut_at is not None)
                self._answering = True
            except StoreUnavailable as error:
                self._answering = False
                log.warning("look_failed", error=str(error))
            self._judge()
            self._looks += 1
            await self._rest(until=began + LOOK_S)

    async def close(self) -> None:
        """Give the sign of life up, and close the connection."""
        try:
            await answered(self._redis.delete(self._keys.gateway(self._gateway)), within_s=1.0)
        except StoreUnavailable as error:
            log.info("key_left_to_expire", error=str(error))
        await close_redis(self._redis)

    async def _rest(self, *, until: float) -> None:
        """Wait for the next look: never busily, and no longer than until there is something to prove."""
        await asyncio.sleep(LEAST_REST_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - monotonic())):
                await self._soon.wait()
        self._soon.clear()

    def _is_heard(self) -> bool:
        proven = self._cut_at is None or monotonic() - self._cut_at < CUT_S
        return self.subscribed and proven and self._misses < MAX_MISSES

    async def _look(self, *, probing: bool) -> None:
        await self._clock.read(self._redis)
        pipeline = self._redis.pipeline(transaction=False)
        partitions = self._outbox.partitions
        for partition in range(partitions):
            pipeline.xlen(self._keys.inbox(partition))
        if probing:
            self._add_probe(pipeline)
        if not len(pipeline.command_stack):
            return
        answers: list[Any] = await answered(pipeline.execute())
        self._outbox.limit(frozenset(p for p in range(partitions) if answers[p] > self._max_backlog))
        if probing:
            self._take_sign(answers[partitions])
            self._take_meta(*answers[partitions + 1])

    def _add_probe(self, pipeline: Any) -> None:
        if self.subscribed and self._heard < self._sent:
            self._misses += 1
            self._metrics.probe_misses.inc()
        else:
            self._misses = 0
        self._sent += 1
        self._probed_at = monotonic()
        pipeline.eval(SIGN, 1, self._keys.gateway(self._gateway), KEY_TTL_MS, self._clock.off_ms())
        pipeline.hmget(self._keys.meta, b"partitions", b"epoch")
        pipeline.publish(self._keys.channel(self._gateway), record(Kind.PROBE, 0, str(self._sent).encode()))

    def _take_sign(self, old: bytes | None) -> None:
        if old is None and self._known:
            self._reactions.wiped()
        self._known = True

    def _take_meta(self, partitions: bytes | None, epoch: bytes | None) -> None:
        # After a wipe the hash is missing until a worker's next beat: what was known stays true (R1e).
        if partitions is None or epoch is None:
            return
        self._outbox.partitions = int(partitions)
        self._reactions.epoch_known(epoch.decode())

    def _judge(self) -> None:
        now = monotonic()
        if self._answering and self._is_heard():
            if self._told_lost:
                self._told_lost = False
                self._reactions.regained()
            self._whole_at = now
            return
        if self._misses >= MAX_MISSES and now - self._renewed_at >= RENEW_S:
            self._renewed_at = now
            self._reactions.unheard()
        if now - self._whole_at >= LOST_S and not self._told_lost:
            self._told_lost = True
            self._reactions.lost()
