"""What a gateway does for presence: it enters and removes its members, tells of them, and listens to its channel."""

import asyncio
from typing import Any

import orjson
from chatcore.ids import ConnectionNumber, GatewayId, UserId
from chatcore.keys import Keys
from chatcore.push import Kind, read_presence, records
from chatcore.stream import (
    FIELD,
    Connected,
    Disconnected,
    Heartbeats,
    PresenceEvent,
    Subscribed,
    Unsubscribed,
    encode_presence,
)

TTL_MS = 30_000
HEARD_S = 15.0
"""A deadline for what must come; passing needs none of it."""


class Gateway:
    """One gateway, without sockets."""

    def __init__(self, redis: Any, keys: Keys, name: str) -> None:
        self.redis, self.keys, self.id = redis, keys, GatewayId(name)
        self.heard: asyncio.Queue[tuple[int, int, dict[str, Any]]] = asyncio.Queue()
        self._listening: asyncio.Task[None] | None = None
        self._pubsub = redis.pubsub()

    async def listen(self) -> None:
        await self._pubsub.subscribe(self.keys.channel(self.id))
        confirmation = await self._pubsub.get_message(timeout=5)
        assert confirmation is not None
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._pubsub.aclose()
        await self.redis.aclose()

    async def _listen(self) -> None:
        async for message in self._pubsub.listen():
            if message["type"] != "message":
                continue
            for kind, connection, payload in records(message["data"]):
                if kind == Kind.PRESENCE:
                    user, frame = read_presence(payload)
                    assert orjson.loads(frame)["user"] == user
                    payload = frame
                self.heard.put_nowait((kind, connection, orjson.loads(payload)))

    async def hear(self, *, within_s: float = HEARD_S) -> tuple[int, int, dict[str, Any]]:
        """Give the next record."""
        return await asyncio.wait_for(self.heard.get(), within_s)

    async def told(self) -> dict[str, Any]:
        """Give the next presence frame for all subscribers of a user."""
        kind, connection, frame = await self.hear()
        assert (kind, connection) == (Kind.PRESENCE, 0), frame
        return frame

    async def tell(self, *events: PresenceEvent) -> None:
        await self.redis.xadd(self.keys.presence, {FIELD: encode_presence(events)})

    async def enter(self, user: str, device: str = "phone", connection: int = 1, *, ttl_ms: int = TTL_MS) -> str:
        """Enter a member, and tell nobody."""
        now = await now_ms(self.redis)
        member = f"{device}|{self.id}|{connection}|{now}"
        await self.redis.zadd(self.keys.devices(user), {member: now + ttl_ms})
        return member

    async def connect(self, user: str, device: str = "phone", connection: int = 1, *, ttl_ms: int = TTL_MS) -> str:
        member = await self.enter(user, device, connection, ttl_ms=ttl_ms)
        await self.tell(Connected(UserId(user), member))
        return member

    async def disconnect(self, user: str, member: str) -> None:
        await self.redis.zrem(self.keys.devices(user), member)
        await self.tell(Disconnected(UserId(user), member))

    async def beat(self, *members: tuple[str, str], silent_ms: int = 0) -> None:
        await self.tell(Heartbeats([(UserId(user), member) for user, member in members], silent_ms))

    async def subscribe(self, user: str, connection: int = 7, ref: str | None = None) -> None:
        await self.tell(Subscribed(UserId(user), self.id, ConnectionNumber(connection), ref))

    async def announce(self, user: str) -> None:
        await self.subscribe(user, 0)

    async def unsubscribe(self, user: str) -> None:
        await self.tell(Unsubscribed(UserId(user), self.id))


async def now_ms(redis: Any) -> int:
    """Redis's own time."""
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000
