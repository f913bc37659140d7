"""Owns the end of a run as the judge sees it: read from the twins and the devices, and held against every promise."""

from collections import defaultdict
from dataclasses import dataclass

from chatctl.simulate.ending import Reading
from chatctl.simulate.twin_redis.streams import Stream
from chatctl.simulate.watch import Fence, Settlements
from chatctl.simulate.world import PARTITIONS, World
from chatctl.verify.case import Case
from chatctl.verify.final_state import Entry, FinalState, MemberEnd, StreamEnd
from chatctl.verify.history import History, Pair, digest, pair_of
from chatctl.verify.properties import judged


@dataclass(frozen=True, slots=True)
class Inside:
    """What was seen at the twins during a run."""

    settlements: Settlements
    fence: Fence


def violations(world: World, history: History, inside: Inside, reading: Reading) -> list[str]:
    """Give every broken promise as a sentence."""
    case = Case(history, final_state(world, inside, reading))
    return [f"{one.name}: {violation.what}" for one, violation in judged(case)]


def final_state(world: World, inside: Inside, reading: Reading) -> FinalState:
    """Put the end together: what the protocol gave out, what the devices hold, what lies in the stores."""
    return FinalState(
        logs=reading.logs,
        devices=reading.devices,
        mirrors=reading.mirrors,
        fresh=reading.fresh,
        listed=reading.listed,
        rows=_rows(world),
        members=_members(world),
        streams=[_stream(world, world.keys.inbox(partition)) for partition in range(PARTITIONS)],
        dead=_dead(world),
        early=inside.settlements.early,
        stale=inside.fence.stale,
        online=reading.online,
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
