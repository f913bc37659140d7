"""Owns how a client of Redis is made: no retries, no time-out per command, no chatter at connecting.

By default redis-py repeats each command up to ten times: one XADD whose answer was lost would write three entries.
A time-out on the socket costs 50 microseconds a command and knows nothing of BLOCK: callers set an outer deadline.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from chatcore.errors import StoreUnavailable

CONNECT_S: Final = 3.0
"""Seconds to connect. Shorter than a worker's life without a beat (4 s), so that one try fits into it."""
ANSWER_S: Final = 4.0
"""Seconds for the answers to one round trip; past them what was asked may or may not have happened."""
BROKEN: Final = (RedisError, OSError, TimeoutError, RuntimeError, EOFError)
"""What a broken connection raises. RuntimeError: uvloop's word for a handle that is closed."""

T = TypeVar("T")


class PackedInC:
    """Packs commands as redis-py's synchronous connections do. The asynchronous ones pack in Python.

    A command of a hundred parts is packed in 10 instead of 50 microseconds; of a small batch it saves 7 %.
    """

    _serializer: Final = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        """Write a command. Raises redis-py's `DataError` for a part that is neither text, bytes nor number."""
        packed: list[bytes] = self._serializer.pack(*args)
        return packed


class PlainConnection(PackedInC, Connection):
    """A connection in the clear."""


class TLSConnection(PackedInC, SSLConnection):
    """A connection in TLS."""


PACKED: Final[dict[type[Any], type[Any]]] = {Connection: PlainConnection, SSLConnection: TLSConnection}
"""What stands in for the connections that a URL asks for."""


def make_redis(url: str, *, name: str, connections: int = 4) -> Redis:
    """Make a client; it connects at its first command. `name` shows in CLIENT LIST.

    The pool raises at its limit instead of waiting: a caller uses a client from no more than `connections` tasks.
    """
    client = Redis.from_url(
        url,
        protocol=2,
        decode_responses=False,
        socket_timeout=None,
        socket_connect_timeout=CONNECT_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
        max_connections=connections,
        client_name=name,
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    pool: Any = client.connection_pool
    pool.connection_class = PACKED.get(pool.connection_class, pool.connection_class)
    return client


class Connect(Protocol):
    """Makes the clients of one Redis: what a composition root gives to its adapters."""

    def __call__(self, *, name: str, connections: int = 4) -> Redis:
        """Do as `make_redis`."""


def connect_to(url: str) -> Connect:
    """Give what makes the clients of the Redis at `url`."""
    return partial(make_redis, url)


async def answered(work: Awaitable[T], *, within_s: float = ANSWER_S) -> T:
    """Await one round trip. Raises `StoreUnavailable` when it failed or did not answer: the outcome is open."""
    try:
        async with asyncio.timeout(within_s):
            return await work
    except BROKEN as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}: {error}") from error


async def close_redis(client: Any) -> None:
    """Close a client's connections, without waiting for a peer that is gone."""
    try:
        async with asyncio.timeout(1.0):
            await client.aclose()
    except BROKEN:
        return
