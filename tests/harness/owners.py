"""Owns how a test sees who owns the partitions: a system is ready, and takes sends, before each is taken over."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

SETTLED_S: Final = 30.0


class Database(Protocol):
    """What a stack and a system have in common."""

    def mysql(self) -> AbstractAsyncContextManager[Any]:
        """Open a connection to MySQL."""


async def owners(system: Database) -> dict[int, tuple[int, str]]:
    """Give each partition's epoch and owner; nobody's is 0 and empty."""
    async with system.mysql() as connection:
        cursor = await connection.cursor()
        await cursor.execute("SELECT partition_id, epoch, owner FROM partition_owner")
        return {partition: (epoch, owner) for partition, epoch, owner in await cursor.fetchall()}


async def settled_owners(system: Database, *, workers: int) -> dict[int, tuple[int, str]]:
    """Wait until all these workers own their shares; while they stay, nobody takes over any more."""
    async with asyncio.timeout(SETTLED_S):
        while True:
            found = await owners(system)
            if len({owner for _, owner in found.values()} - {""}) == workers and all(e for e, _ in found.values()):
                return found
            await asyncio.sleep(0.1)
