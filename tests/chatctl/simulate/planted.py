"""Services with one part replaced: bugs that a simulation has to find. The product has no switch for them."""

from collections.abc import Iterable, Sequence
from typing import Any

from chatctl.simulate.services import ROLES, SimulatedWorker
from delivery_worker.inbox import RedisInbox, StreamEntry
from delivery_worker.router import RedisRouter


class Forgetful(RedisRouter):
    """Looks no route up: whoever is connected hears of nothing but answers."""

    async def routes(self, users: Iterable[str]) -> dict[str, Any]:
        """Find nobody."""
        del users
        return {}


class SettlingInbox(RedisInbox):
    """Settles what it reads, before any commit."""

    async def read(self, epoch: int, partitions: Sequence[int], count: int) -> list[StreamEntry]:
        """Read, and delete."""
        entries = await super().read(epoch, partitions, count)
        for entry in entries:
            await self._redis.writer.xdel(self._keys.inbox(entry.partition), entry.id)
        return entries


class SettlingWorker(SimulatedWorker):
    """Settle before commit."""

    def __init__(self, name: str, roads: Any) -> None:
        super().__init__(name, roads)
        self.inbox = SettlingInbox(self.connect, keys=self.keys, worker=self.worker)


class RoutelessWorker(SimulatedWorker):
    """Messages reach nobody before the next sync."""

    def __init__(self, name: str, roads: Any) -> None:
        super().__init__(name, roads)
        self.router.__class__ = Forgetful


PLANTED = {
    "settle before commit": {**ROLES, "worker": SettlingWorker},
    "no routes": {**ROLES, "worker": RoutelessWorker},
}
