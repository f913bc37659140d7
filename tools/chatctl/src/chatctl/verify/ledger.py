"""Owns the watch on the inside of a run: which events leave a stream before MySQL holds what they say.

It samples the streams past the proxies. It sees only what lies there at two of its looks, so it proves nothing by
silence in one run; what it finds is certain. It must never write into the system's own keys or tables; who writes is
noted by `audit`.
"""

import asyncio
import secrets
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from chatcore.errors import CodecError
from chatcore.ids import conversation_id
from chatcore.keys import Keys
from chatcore.stream import FIELD, SendEvent, decode_entry
from pymysql.err import MySQLError
from redis.exceptions import RedisError

from chatctl.verify import audit
from chatctl.verify.system import Stores

LOOK_S: Final = 0.1
"""Seconds between two looks: a batch that is stuck in a lock, or waits for its COMMIT, stands for longer."""
ENTRIES: Final = 200
"""Entries of one stream and look, the oldest: those are settled next."""
MARK: Final = "verify:mark"
"""A key of this tool's own: gone, Redis was emptied, and what left a stream left it unsettled."""
FAILURES: Final = (OSError, RedisError, MySQLError, TimeoutError, RuntimeError)
EARLY_MAX: Final = 50


class _Send(NamedTuple):
    """A send that lies in a stream."""

    sender: str
    peer: str
    id: str


Seen = dict[tuple[str, bytes], tuple[_Send, ...]]


class Ledger:
    """Looks at the streams for the length of a run."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._keys = Keys()
        self._owners: dict[int, str] | None = None
        self._life = ""
        self._lying: Seen = {}
        self._early: list[str] = []
        self.looks = 0
        self.left = 0
        """Sends whose leaving was seen."""

    @property
    def early(self) -> list[str]:
        """What left its stream before MySQL held it."""
        return list(self._early)

    async def prepare(self) -> None:
        """Begin to note who writes. Call it before anybody writes, in a database of one's own."""
        async with self._stores.mysql() as mysql:
            self._owners = await audit.begin(mysql)

    async def stale(self) -> list[str] | None:
        """Return the writes of workers that were not the owners; None when nothing was noted, or can be read."""
        if self._owners is None:
            return None
        with suppress(*FAILURES):
            async with self._stores.mysql() as mysql:
                notes = await audit.read(mysql, len(self._owners))
                return list(islice(audit.stale_writes(self._owners, notes), EARLY_MAX))
        return None

    async def run(self) -> None:
        """Look until cancelled. While a store does not answer, nothing is concluded."""
        while True:
            with suppress(*FAILURES):
                await self._watch()
            self._lying = {}
            await asyncio.sleep(LOOK_S)

    async def _watch(self) -> None:
        redis = self._stores.redis()
        try:
            async with self._stores.mysql() as mysql:
                partitions = int(await redis.hget(self._keys.meta, "partitions") or 0)
                while True:
                    async with asyncio.timeout(5):
                        await self._look(redis, mysql, partitions)
                    await asyncio.sleep(LOOK_S)
        finally:
            await redis.aclose()

    async def _look(self, redis: Any, mysql: Any, partitions: int) -> None:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.info("server")
            pipe.get(MARK)
            for partition in range(partitions):
                pipe.xrange(self._keys.inbox(partition), count=ENTRIES)
            info, mark, *streams = await pipe.execute()
        lying: Seen = {}
        full = set()
        for partition, entries in enumerate(streams):
            name = self._keys.inbox(partition)
            if len(entries) == ENTRIES:
                full.add(name)
            lying |= {(name, entry): _sends(fields.get(FIELD, b"")) for entry, fields in entries}
        life = f"{info['run_id']} {mark!r}"
        if mark is None or life != self._life:
            fresh = secrets.token_hex(4)
            await redis.set(MARK, fresh)
            self._life = f"{info['run_id']} {fresh.encode()!r}"
        else:
            gone = [sends for place, sends in self._lying.items() if place not in lying and place[0] not in full]
            await self._check(mysql, [send for sends in gone for send in sends])
        self._lying = lying
        self.looks += 1

    async def _check(self, mysql: Any, gone: Iterable[_Send]) -> None:
        cursor = await mysql.cursor()
        for send in gone:
            self.left += 1
            await cursor.execute(
                "SELECT 1 FROM message WHERE conversation_id = %s AND sender = %s AND client_id = %s",
                (conversation_id(send.sender, send.peer), send.sender, send.id),
            )
            if await cursor.fetchone() is None and len(self._early) < EARLY_MAX:
                self._early.append(f"{tuple(send)} had left its stream, and MySQL did not hold it")


def _sends(raw: bytes) -> tuple[_Send, ...]:
    with suppress(CodecError):
        events = decode_entry(raw).events
        return tuple(_Send(e.origin.user, e.peer, e.client_id) for e in events if isinstance(e, SendEvent))
    return ()
