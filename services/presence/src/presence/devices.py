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
from chatcore.errors import CodecError, StoreUnavailable
from chatcore.full_redis import execute_anyway
from chatcore.keys import Keys, Member
from chatcore.push import Kind, record
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.stream import Subscribed, TypingSeen, Unsubscribed
from redis.exceptions import NoScriptError, OutOfMemoryError

from presence.metrics import PresenceMetrics
from presence.scripts import FORGET, LOOK, UNWATCH

SWEPT_PX: Final = 60_000
PIPELINE: Final = 250
"""Commands in one round trip: redis-py packs them on the event loop, about 10 microseconds each."""

Call = tuple[list[str], list[Any]]
"""Keys and arguments of a script."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a sweep begins with."""

    now: int
    swept_ms: int | None
    due: list[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A look at a user, and who wants to be told of it."""

    user: str
    gateway: str = ""
    """Subscribes; empty: nobody does."""
    connection: int = 0
    """Is told in any case; 0: the whole gateway is."""
    ref: str | None = None
    asked_ms: int = 0

    @property
    def field(self) -> str:
        """The field `ref` of the frame."""
        return f',"ref":{orjson.dumps(self.ref).decode()}' if self.ref is not None else ""


class Devices:
    """Looks at users and extends devices, for one task at a time. Every method raises `StoreUnavailable`."""

    def __init__(self, connect: Connect, *, keys: Keys, name: str, ttl_ms: int, metrics: PresenceMetrics) -> None:
        self._redis = connect(name=name, connections=2)
        self._keys = keys
        self._ttl_ms = ttl_ms
        self._metrics = metrics
        self._scripts: dict[str, Any] = {text: self._redis.register_script(text) for text in (LOOK, UNWATCH, FORGET)}
        self.sweep_until = 0
        """Until when, in ms of Redis's clock, a look may remove what expired. The sweeper decides."""

    async def now(self) -> int:
        """Read Redis's clock, in ms."""
        seconds, micros = await answered(self._redis.time())
        return int(seconds) * 1000 + int(micros) // 1000

    async def extend(self, members: Sequence[tuple[str, str]], heard_ms: int) -> None:
        """Extend the devices of pairs (user, member) that are there, in bulk, from when they were heard."""
        deadline, devices = b"%d" % (heard_ms + self._ttl_ms), self._keys.devices
        # One bare command of bytes for a beat: zadd() and the client's encoding cost more than the command itself.
        for start in range(0, len(members), PIPELINE):
            beats = members[start : start + PIPELINE]
            pipeline = self._redis.pipeline(transaction=False)
            for user, member in beats:
                pipeline.execute_command(b"ZADD", devices(user).encode(), b"XX", b"GT", deadline, member.encode())
            # NX: the first deadline of a user stands until somebody looked, so a silent device is not outlived by
            # the beats of another.
            users = [part for user in {user for user, _ in beats} for part in (deadline, user)]
            pipeline.execute_command("ZADD", self._keys.deadlines, "NX", *users)
            await answered(execute_anyway(self._redis, pipeline))
        self._metrics.extended.inc(len(members))

    async def look(self, users: Iterable[str], cause: str) -> None:
        """Look at users, tell what changed, and note when to look again."""
        await self._look_at([Asked(user) for user in dict.fromkeys(users)], cause)

    async def subscribe(self, subscriptions: Sequence[tuple[Subscribed, int]]) -> None:
        """Note gateways with a subscriber, each with when it asked, and tell each connection that asked."""
        await self._look_at(
            [Asked(s.user, s.gateway, s.connection, s.ref, ms) for s, ms in subscriptions], "subscription"
        )

    async def unsubscribe(self, subscriptions: Sequence[tuple[Unsubscribed, int]]) -> None:
        """Forget gateways without a subscriber, each with when it asked for that."""
        calls = [([self._keys.watch(s.user)], [s.gateway, asked_ms]) for s, asked_ms in subscriptions]
        for start in range(0, len(calls), PIPELINE):
            await self._evaluate(UNWATCH, calls[start : start + PIPELINE])

    async def sweep(self, tick: Tick) -> None:
        """Look at the users whose time has come, and forget those without a device."""
        await self.look(tick.due, "sweep")
        await self._evaluate(FORGET, [([self._keys.deadlines], [tick.now, *tick.due])])

    async def tell_typing(self, events: Sequence[TypingSeen]) -> None:
        """Tell the devices of each peer, one publication a gateway."""
        pairs = list(dict.fromkeys((event.user, event.peer) for event in events))
        for start in range(0, len(pairs), PIPELINE):
            await self._tell_typing(pairs[start : start + PIPELINE])

    async def tick(self, most: int) -> Tick:
        """Read the clock, when anybody swept last, and up to `most` users whose time to look has come."""
        now = await self.now()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(self._keys.swept)
        pipeline.zrangebyscore(self._keys.deadlines, "-inf", now, start=0, num=most)
        pipeline.zcard(self._keys.deadlines)
        swept, due, watched = await answered(pipeline.execute())
        self._metrics.online.set(watched)
        return Tick(now, int(swept) if swept else None, [user.decode() for user in due])

    async def full(self) -> bool:
        """Say whether Redis takes nothing that grows, and so no heartbeats: asked by a write that changes nothing."""
        try:
            await answered(self._redis.zadd(self._keys.deadlines, {"": 0}, xx=True))
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, OutOfMemoryError):
                raise
            return True
        return False

    async def swept(self, now: int) -> None:
        """Note that somebody sweeps."""
        await answered(self._redis.set(self._keys.swept, now, px=SWEPT_PX))

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._redis)

    async def _tell_typing(self, pairs: Sequence[tuple[str, str]]) -> None:
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

    async def _look_at(self, looks: Sequence[Asked], cause: str) -> None:
        for start in range(0, len(looks), PIPELINE):
            await self._look_at_some(looks[start : start + PIPELINE])
        self._metrics.looks.counts[cause] += len(looks)

    async def _look_at_some(self, looks: Sequence[Asked]) -> None:
        found = await self._evaluate(LOOK, [self._call(look) for look in looks])
        deadlines: dict[str, float] = {}
        for look, (changed, online, next_ms) in zip(looks, found, strict=True):
            if changed:
                self._metrics.transitions.counts["online" if online else "offline"] += 1
            if next_ms:
                deadlines[look.user] = float(next_ms)
        # Who has no device keeps the deadline that stands until a sweep: another replica may have looked since, and
        # seen one come. Devices' deadlines only rise while there is any, so a late note is an early look.
        if deadlines:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zadd(self._keys.deadlines, deadlines)
            await answered(execute_anyway(self._redis, pipeline))

    def _call(self, look: Asked) -> Call:
        keys = self._keys
        return (
            [keys.devices(look.user), keys.seen(look.user), keys.watch(look.user)],
            [
                look.user,
                self._ttl_ms,
                self.sweep_until,
                keys.channel(""),
                look.gateway,
                look.connection,
                look.field,
                look.asked_ms,
            ],
        )

    async def _evaluate(self, text: str, calls: Sequence[Call]) -> list[Any]:
        """Run a script for each call, in one round trip but for the first time on a server."""
        try:
            return await self._run(text, calls)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        await answered(self._redis.script_load(text))
        return await self._run(text, calls)

    async def _run(self, text: str, calls: Sequence[Call]) -> list[Any]:
        # Not redis-py's own way, which asks SCRIPT EXISTS before every pipeline.
        pipeline, sha = self._redis.pipeline(transaction=False), self._scripts[text].sha
        for keys, arguments in calls:
            pipeline.evalsha(sha, len(keys), *keys, *arguments)
        found: list[Any] = await answered(pipeline.execute())
        return found


def _members(rows: Iterable[bytes]) -> Iterable[Member]:
    for row in rows:
        try:
            yield Member.decode(row)
        except CodecError:
            continue
