"""Owns what is seen inside of a run, at the twins: what is settled before it is stored, and who writes without a right.

It looks at the very moment in which a thing happens, so nothing escapes it. It must never change what it sees.
"""

from collections.abc import Mapping
from typing import Final

from chatcore.ids import conversation_id, partition_of
from chatcore.stream import SendEvent, decode_entry

from chatctl.simulate.twin_mysql.tables import Key, Row
from chatctl.simulate.twin_redis.streams import Stream, read_id
from chatctl.simulate.world import PARTITIONS, World

FENCED: Final = ("message", "member")
"""Tables that only the owner of a conversation's partition writes; a sync writes devices and their cursors anywhere."""


class Settlements:
    """Looks, whenever entries are settled, whether MySQL holds what they say."""

    def __init__(self, world: World) -> None:
        self.early: list[str] = []
        self._world = world
        self._inboxes = {world.keys.inbox(partition).encode() for partition in range(PARTITIONS)}
        world.redis.deleting = self._look

    def _look(self, key: bytes, ids: list[bytes]) -> None:
        stream = self._world.redis.keys.get(key, Stream) if key in self._inboxes else None
        for raw in ids if stream is not None else ():
            fields = stream.entries.get(read_id(raw)) if stream is not None else None
            for event in decode_entry(fields[1]).events if fields is not None else ():
                if isinstance(event, SendEvent) and not self._is_stored(event):
                    self.early.append(f"{event.client_id} of {event.origin.user} was settled and is not stored")

    def _is_stored(self, event: SendEvent) -> bool:
        user = event.origin.user
        return (
            "message",
            1,
            conversation_id(user, event.peer),
            user,
            event.client_id,
        ) in self._world.mysql.database.indexed


class Fence:
    """Looks, whenever a worker commits, whether the partitions of what it wrote are its own.

    The order of commits is the order of the lock on a partition's row. A worker that was started again is another one:
    what its former self had under way is told apart.
    """

    def __init__(self, world: World) -> None:
        self.stale: list[str] = []
        self._owners: dict[int, str] = {}
        world.mysql.database.committing = self._look

    def _look(self, client: str, writes: Mapping[tuple[str, Key], Row | None]) -> None:
        for (table, _), row in writes.items():
            if table == "partition_owner" and row is not None:
                self._owners[row["partition_id"]] = client
        for (table, _), row in writes.items():
            if table in FENCED and row is not None:
                self._check(client, table, row)

    def _check(self, client: str, table: str, row: Row) -> None:
        partition = partition_of(row["conversation_id"], PARTITIONS)
        owner = self._owners.get(partition)
        if client != owner:
            what = f"{row.get('seq', row.get('last_seq'))} into {table} of partition {partition}"
            self.stale.append(f"{client} wrote {what}, whose owner was {owner}")
