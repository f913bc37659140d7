"""Owns what is read from the stores in the end: rows and marks from MySQL, streams and dead letters from Redis.

It reads past the services, and writes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from chatcore.ids import conversation_id
from chatcore.keys import Keys
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from chatctl.verify.final_state import Entry, MemberEnd, StreamEnd
from chatctl.verify.history import Pair, digest

DEAD_MAX = 100
"""Dead letters that a report names."""


async def read_rows(mysql: Any, pairs: Iterable[Pair]) -> dict[Pair, list[Entry]]:
    """Read every message, by conversation; one of a pair that is not among these is under its id in hex."""
    names = {bytes(conversation_id(*pair)): pair for pair in pairs}
    found: dict[Pair, list[Entry]] = defaultdict(list)
    cursor = await mysql.cursor()
    await cursor.execute(
        "SELECT conversation_id, seq, sender, client_id, ts, body FROM message ORDER BY conversation_id, seq"
    )
    for conversation, seq, sender, client_id, ts, body in await cursor.fetchall():
        pair = names.get(bytes(conversation), (bytes(conversation).hex(), ""))
        found[pair].append(Entry(seq, sender, client_id, ts, digest(body)))
    return dict(found)


async def read_members(mysql: Any) -> list[MemberEnd]:
    """Read every user's row of every conversation."""
    cursor = await mysql.cursor()
    await cursor.execute(
        "SELECT user_id, peer_id, last_seq, delivered_seq, read_seq, peer_delivered_seq, peer_read_seq FROM member"
    )
    return [MemberEnd(*row) for row in await cursor.fetchall()]


async def read_streams(redis: Redis, keys: Keys) -> list[StreamEnd]:
    """Read how much every stream holds, and how much of it is pending in any group."""
    names = [keys.inbox(partition) for partition in range(await _partitions(redis, keys))]
    return [await _stream(redis, name) for name in (*names, keys.sync, keys.presence)]


async def _partitions(redis: Redis, keys: Keys) -> int:
    raw = await redis.hget(keys.meta, "partitions")
    return int(raw or 0)


async def _stream(redis: Redis, name: str) -> StreamEnd:
    pending = 0
    with suppress(ResponseError):  # no such stream: nothing was ever written, or all of it is gone
        for group in await redis.xinfo_groups(name):
            pending += int(group["pending"])
    return StreamEnd(name, int(await redis.xlen(name)), pending)


async def read_dead(redis: Redis, keys: Keys) -> list[str]:
    """Read the dead letters, as text."""
    return [f"{entry!r}: {fields}" for entry, fields in await redis.xrange(keys.dead, count=DEAD_MAX) or ()]
