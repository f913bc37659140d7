"""Owns the end of a run as the judge sees it: read from the twins and the devices, and held against every promise."""

from collections import defaultdict

from chatcore.ids import conversation_id
from chatcore.stream import SendEvent, decode_entry

from chatctl.simulate.clients import Crowd
from chatctl.simulate.twin_redis.streams import Stream, read_id
from chatctl.simulate.world import PARTITIONS, World
from chatctl.verify.case import Case
from chatctl.verify.final_state import Entry, FinalState, MemberEnd, StreamEnd
from chatctl.verify.history import Pair, digest, pair_of
from chatctl.verify.properties import judged


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


def violations(world: World, crowd: Crowd, settlements: Settlements) -> list[str]:
    """Give every broken promise as a sentence."""
    case = Case(crowd.history, final_state(world, crowd, settlements))
    return [f"{one.name}: {violation.what}" for one, violation in judged(case)]


def final_state(world: World, crowd: Crowd, settlements: Settlements) -> FinalState:
    """Read the end."""
    ends = [device.end() for device in crowd.devices] + [crowd.late.end(came_late=True)]
    rows = _rows(world)
    return FinalState(
        logs=rows,  # nobody reads history back here: the devices are held against what MySQL has
        devices=ends,
        rows=rows,
        members=_members(world),
        streams=[_stream(world, world.keys.inbox(partition)) for partition in range(PARTITIONS)],
        dead=_dead(world),
        early=settlements.early,
    )


def _pairs(world: World) -> dict[bytes, Pair]:
    rows = world.mysql.database.rows["member"].values()
    return {row["conversation_id"]: pair_of(row["user_id"], row["peer_id"]) for row in rows}


def _rows(world: World) -> dict[Pair, list[Entry]]:
    pairs = _pairs(world)
    logs: dict[Pair, list[Entry]] = defaultdict(list)
    for row in sorted(world.mysql.database.rows["message"].values(), key=lambda one: one["seq"]):
        entry = Entry(row["seq"], row["sender"], row["client_id"], row["ts"], digest(row["body"]))
        logs[pairs[row["conversation_id"]]].append(entry)
    return dict(logs)


def _members(world: World) -> list[MemberEnd]:
    return [
        MemberEnd(
            row["user_id"],
            row["peer_id"],
            row["last_seq"],
            row["delivered_seq"],
            row["read_seq"],
            row["peer_delivered_seq"],
            row["peer_read_seq"],
        )
        for row in world.mysql.database.rows["member"].values()
    ]


def _stream(world: World, name: str) -> StreamEnd:
    stream = world.redis.keys.get(name.encode(), Stream) or Stream()
    return StreamEnd(name, len(stream.entries), sum(len(group.pending) for group in stream.groups.values()))


def _dead(world: World) -> list[str]:
    stream = world.redis.keys.get(world.keys.dead.encode(), Stream) or Stream()
    return [repr(fields) for fields in stream.entries.values()]
