"""The worlds in which each promise about Redis is tried: a real server, and the twin of one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from chatcore.redis_client import connect_to
from chatctl.simulate.channel import Channel, Straight
from chatctl.simulate.twin_redis.client import TwinClient
from chatctl.simulate.twin_redis.server import TwinRedis


class RedisWorld(Protocol):
    """A server, as its clients see it."""

    def client(self, *, connections: int = 4) -> Any:
        """Make a client."""

    async def cut(self) -> None:
        """Cut every connection."""

    async def fill(self, *, full: bool) -> None:
        """Use up the memory, or free it."""

    async def close(self) -> None:
        """Close the clients."""


class RealRedis:
    """The private server of the tests."""

    def __init__(self, url: str) -> None:
        self._connect = connect_to(url)
        self._clients: list[Any] = []
        self._control = self.client()

    def client(self, *, connections: int = 4) -> Any:
        one = self._connect(name="contract", connections=connections)
        self._clients.append(one)
        return one

    async def cut(self) -> None:
        for kind in ("normal", "pubsub"):
            await self._control.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    async def fill(self, *, full: bool) -> None:
        await self._control.execute_command("CONFIG", "SET", "maxmemory", "1" if full else "0")

    async def close(self) -> None:
        await self.fill(full=False)
        await self._control.flushall()
        for client in self._clients:
            await client.aclose()


class TwinWorld:
    """A twin on straight roads, by the loop's own clock."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = TwinRedis(lambda: 1_700_000_000_000 + int(loop.time() * 1000))

    def client(self, *, connections: int = 4) -> Any:
        return TwinClient(self._dial, connections=connections)

    async def _dial(self) -> Channel:
        return Channel(self.server, Straight())

    async def cut(self) -> None:
        for session in list(self.server.sessions):
            session.cut()

    async def fill(self, *, full: bool) -> None:
        self.server.full = full

    async def close(self) -> None:
        return


MakeWorld = Callable[[], Awaitable[RedisWorld]]
