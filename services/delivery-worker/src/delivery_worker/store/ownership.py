"""Owns the rows that fence partitions: a takeover raises the epoch, and whoever has an older one commits nothing."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chatcore.errors import ConfigurationError, StoreUnavailable
from pymysql.err import MySQLError

from delivery_worker.store.session import Session
from delivery_worker.store.values import numbers, text
from delivery_worker.store.wire import Rows


@dataclass(frozen=True, slots=True)
class Meta:
    """What stands in MySQL for the whole system (R1e)."""

    partitions: int
    database_epoch: str


class OwnerStore(Protocol):
    """The worker's way to own partitions."""

    async def meta(self) -> Meta:
        """Read the number of partitions and the epoch of the database."""

    async def ping(self) -> None:
        """Ask something of the session, so that the server does not end it."""

    async def next_epoch(self) -> int:
        """Draw a number higher than every epoch that was drawn before."""

    async def raise_epoch(self, epoch: int, keep: Sequence[int], take: Sequence[int]) -> frozenset[int]:
        """Give the partitions that this worker owns now under `epoch`."""


class MySQLOwnerStore:
    """`OwnerStore` on one MySQL session."""

    def __init__(self, session: Session, *, owner: str) -> None:
        self._session = session
        self._owner = owner

    async def meta(self) -> Meta:
        """Read `meta`. Raises `ConfigurationError` where no migration wrote it, `StoreUnavailable`."""
        rows: dict[str, str] = dict((await self._run("SELECT name, value FROM meta"))[0])
        try:
            return Meta(int(rows["partitions"]), rows["epoch"])
        except (KeyError, ValueError) as error:
            raise ConfigurationError(f"the table `meta` is incomplete: {error}; run the migrations") from error

    async def ping(self) -> None:
        """Ask nothing. Raises `StoreUnavailable`."""
        await self._run("DO 0")

    async def next_epoch(self) -> int:
        """Draw an epoch, in a transaction of its own."""
        results = await self._run(
            "UPDATE meta SET value = LAST_INSERT_ID(value + 1) WHERE name = 'owner_epoch'; SELECT LAST_INSERT_ID()"
        )
        return int(results[1][0][0])

    async def raise_epoch(self, epoch: int, keep: Sequence[int], take: Sequence[int]) -> frozenset[int]:
        """Raise the rows of `keep` that still name this worker, and those of `take` that are older than `epoch`.

        A row that another session holds is left out: the next beat tries again. Raises `StoreUnavailable` when the
        outcome is open; owning is then claimed anew under a later epoch.
        """
        partitions = sorted({*keep, *take})
        if not partitions:
            return frozenset()
        rows = (
            await self._run(
                "BEGIN; SELECT partition_id, epoch, owner FROM partition_owner"  # noqa: S608 - integers
                f" WHERE partition_id IN ({numbers(partitions)}) ORDER BY partition_id FOR UPDATE SKIP LOCKED"
            )
        )[1]
        mine = {p for p, old, owner in rows if old < epoch and (p in take or owner == self._owner)}
        if mine:
            await self._go_on(
                f"UPDATE partition_owner SET epoch = {epoch:d}, owner = {text(self._owner)}"  # noqa: S608 - quoted
                f" WHERE partition_id IN ({numbers(sorted(mine))})"
            )
        await self._go_on("COMMIT")
        return frozenset(mine)

    async def _run(self, sql: str) -> list[Rows]:
        return await self._checked(self._session.run(sql))

    async def _go_on(self, sql: str) -> list[Rows]:
        return await self._checked(self._session.go_on(sql))

    async def _checked(self, work: Awaitable[list[Rows]]) -> list[Rows]:
        try:
            return await work
        except MySQLError as error:
            await self._session.rollback()
            raise StoreUnavailable(f"MySQL: {error}") from error
