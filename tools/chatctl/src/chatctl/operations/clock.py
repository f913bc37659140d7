"""Owns Redis's time for commands, in milliseconds: the deadlines in Redis are all its own."""

from typing import Any

from chatcore.redis_client import answered
from redis.asyncio import Redis


async def now_ms(redis: Redis) -> int:
    """Read Redis's clock. Raises `StoreUnavailable`."""
    seconds, micros = await answered(redis.time())
    return int(seconds) * 1000 + int(micros) // 1000


def entry_ms(entry_id: bytes | str) -> int:
    """Read off an entry's id when it was added."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    return int(text.partition("-")[0])


async def oldest_ms(redis: Redis, stream: str) -> int | None:
    """Tell when a stream's first entry was added; None for an empty one. Raises `StoreUnavailable`."""
    first: Any = await answered(redis.xrange(stream, count=1))
    return entry_ms(first[0][0]) if first else None
