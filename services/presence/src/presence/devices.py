"""Owns presence's side of the devices' keys.

| Key                   | Type   | TTL     | Written by | Read by |
|-----------------------|--------|---------|------------|---------|
| `chat:devices:{user}` | zset   | -       | gateways enter and remove; deadlines here | here, workers |
| `chat:seen:{user}`    | string | 90 days | here: `on`, or last seen in ms | here |
| `chat:watch:{user}`   | zset   | 180 s   | here       | here |
| `chat:deadlines`      | zset   | -       | here: user, when to look | here |
| `chat:swept`          | string | 60 s    | here       | here |
| `chat:gw:<gateway>`   | channel| -       | here, workers | the gateway |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from chatcore.errors import CodecError
from chatcore.keys import Keys, Member
from chatcore.push import Kind, record
from chatcore.redis_client import answered, close_redis, make_redis
from chatcore.stream import Subscribed, TypingSeen, Unsubscribed

from presence.metrics import PresenceMetrics
from presence.scripts import LOOK

SWEPT_PX: Final = 60_000
PIPELINE: Final = 250
"""Commands in one round trip: redis-py packs them on the event loop, about 10 microseconds each."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a sweep begins with."""

    now: int
    swept_ms: int | None
    due: list[str]


class Devices:
    """Looks at users and extends devices, for one task at a time. Every method raises `StoreUnavailable`."""

    def __init__(self, url: str, *, keys: Keys, name: str, ttl_ms: int, metrics: PresenceMetrics) -> None:
        self._redis = make_redis(url, name=name, connections=2)
        self._keys = keys
        self._ttl_ms = ttl_ms
        self._metrics = metrics
        self._look: Any = self._redis.register_script(LOOK)
        self.sweep = False
        """Whether a look may remove what expired. Its owner decides."""

    async def now(self) -> int:
        """Read Redis's clock, in ms."""
        seconds, micros = await answered(self._redis.time())
        return int(seconds) * 1000 + int(micros) // 1000

    async def extend(self, members: Sequence[tuple[str, str]], now: int) -> None:
        """Extend the devices of pairs (user, member) that are there, in bulk."""
        deadline = now + self._ttl_ms
        by_user: dict[str, dict[str, int]] = {}
        for user, member in members:
            by_user.setdefault(user, {})[member] = deadline
        users = list(by_user.items())
        for start in range(0, len(users), PIPELINE):
            pipeline = self._redis.pipeline(transaction=False)
            for user, scores in users[start : start + PIPELINE]:
                pipeline.zadd(self._keys.devices(user), scores, xx=True, gt=True)
            # NX: the first deadline of a user stands until somebody looked, so a silent device is not outlived by
            # the beats of another.
            known = {user: deadline for user, _ in users[start : start + PIPELINE]}
            pipeline.zadd(self._keys.deadlines, known, nx=True)
            await answered(pipeline.execute())
        self._metrics.extended.inc(len(members))

    async def look(self, users: Iterable[str], cause: str) -> None:
        """Look at users, tell what changed, and note when to look again."""
        await self._run([(user, "", 0, "") for user in dict.fromkeys(users)], cause)

    async def subscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """Note gateways with a subscriber, and tell each connection that asked."""
        await self._run(
            [
                (s.user, s.gateway, s.connection, f',"ref":{orjson.dumps(s.ref).decode()}' if s.ref is not None else "")
                for s in subscriptions
            ],
            "subscription",
        )

    async def unsubscribe(self, subscriptions: Sequence[Unsubscribed]) -> None:
        """Forget gateways without a subscriber."""
        pipeline = self._redis.pipeline(transaction=False)
        for subscription in subscriptions:
            pipeline.zrem(self._keys.watch(subscription.user), subscription.gateway)
        await answered(pipeline.execute())

    async def tell_typing(self, events: Sequence[TypingSeen]) -> None:
        """Tell the devices of each peer, one publication a gateway."""
        pairs = list(dict.fromkeys((event.user, event.peer) for event in events))
        pipeline = self._redis.pipeline(transaction=False)
        for _, peer in pairs:
            pipeline.zrange(self._keys.devices(peer), 0, -1)
        publications: dict[str, bytearray] = {}
        for (user, _), rows in zip(pairs, await answered(pipeline.execute()), strict=True):
            frame = orjson.dumps({"type": "typing", "peer": user})
            for member in _members(rows):
                published = publications.setdefault(member.gateway, bytearray())
                published += record(Kind.FRAME, member.connection, frame)
        if publications:
            pipeline = self._redis.pipeline(transaction=False)
            for gateway, publication in publications.items():
                pipeline.publish(self._keys.channel(gateway), bytes(publication))
            await answered(pipeline.execute())

    async def tick(self, most: int) -> Tick:
        """Read the clock, when anybody swept last, and up to `most` users whose time to look has come."""
        now = await self.now()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(self._keys.swept)
        pipeline.zrangebyscore(self._keys.deadlines, "-inf", now, start=0, num=most)
        pipeline.zcard(self._keys.deadlines)
        swept, due, watched = await answered(pipeline.execute())
        self._metrics.deadlines.set(watched)
        return Tick(now, int(swept) if swept else None, [user.decode() for user in due])

    async def swept(self, now: int) -> None:
        """Note that somebody sweeps."""
        await answered(self._redis.set(self._keys.swept, now, px=SWEPT_PX))

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._redis)

    async def _run(self, looks: Sequence[tuple[str, str, int, str]], cause: str) -> None:
        for start in range(0, len(looks), PIPELINE):
            await self._run_some(looks[start : start + PIPELINE], cause)
        self._metrics.looks.labels(cause).inc(len(looks))

    async def _run_some(self, looks: Sequence[tuple[str, str, int, str]], cause: str) -> None:
        keys, sweep = self._keys, int(self.sweep)
        pipeline = self._redis.pipeline(transaction=False)
        for user, gateway, connection, ref in looks:
            await self._look(
                keys=[keys.devices(user), keys.seen(user), keys.watch(user)],
                args=[user, self._ttl_ms, sweep, keys.channel(""), gateway, connection, ref],
                client=pipeline,
            )
        found = await answered(pipeline.execute())
        deadlines: dict[str, float] = {}
        gone: list[str] = []
        for (user, *_), (changed, online, next_ms) in zip(looks, found, strict=True):
            if changed:
                self._metrics.transitions.labels("online" if online else "offline").inc()
            if next_ms:
                deadlines[user] = float(next_ms)
            else:
                gone.append(user)
        await self._note(deadlines, gone)

    async def _note(self, deadlines: dict[str, float], gone: Sequence[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        if deadlines:
            pipeline.zadd(self._keys.deadlines, deadlines)
        if gone:
            pipeline.zrem(self._keys.deadlines, *gone)
        await answered(pipeline.execute())


def _members(rows: Iterable[bytes]) -> Iterable[Member]:
    for row in rows:
        try:
            yield Member.decode(row)
        except CodecError:
            continue
