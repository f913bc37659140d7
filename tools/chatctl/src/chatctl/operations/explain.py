"""Owns the look for one message: its row, who holds it, where it waits, and what was traced of it.

MySQL always tells what is true now; when it became true, only spans tell, and only where the message was followed.
"""

from collections.abc import Sequence

from chatcore.ids import conversation_id, partition_of
from delivery_worker.store.reads import SNAPSHOT
from delivery_worker.store.values import binary, text

from chatctl.deployment import Deployment
from chatctl.operations import people, waiting
from chatctl.operations.backlog import partition_count
from chatctl.operations.explanation import Explanation, Found, Place, Row, Tables, choose, missing, told


async def explain(deployment: Deployment, user: str, peer: str, which: str, lines: Sequence[str]) -> Explanation:
    """Explain the message with this number or client id. `lines` are the services' logs.

    Raises `Failure` for no such conversation or message, `StoreUnavailable`.
    """
    conversation = conversation_id(user, peer)
    partition = partition_of(conversation, await partition_count(deployment))
    place = Place((user, peer), conversation, partition, int(which) if which.isdecimal() else None, which)
    tables = await _look(deployment, place)
    known = [device for one in place.users for device in await _devices(deployment, one)]
    row = choose(tables.messages, place)
    async with deployment.redis() as redis:
        streamed = await waiting.in_stream(deployment, redis, partition, place.users, row.client_id if row else which)
    dead = [] if row else await waiting.given_up(deployment, place.users, which)
    if row is None and not streamed and not dead:
        raise missing(place, tables)
    return told(place, tables, row, known, Found(streamed, dead), lines)


async def _look(deployment: Deployment, place: Place) -> Tables:
    """Read all of it in one snapshot."""
    ours = f"conversation_id = {binary(place.conversation)}"
    theirs = f"{ours} AND user_id IN ({', '.join(text(user) for user in place.users)})"
    by_seq = f" OR seq = {place.seq}" if place.seq is not None else ""
    which = f"{ours} AND (client_id = {text(place.client_id)}{by_seq})"
    statements = (
        *SNAPSHOT,
        f"SELECT user_id, last_seq, delivered_seq, read_seq FROM member WHERE {theirs}",  # noqa: S608 - quoted
        f"SELECT seq, sender, device_id, client_id, ts, OCTET_LENGTH(body) FROM message WHERE {which}",  # noqa: S608 - quoted
        f"SELECT user_id, device_id, seq FROM device_cursor WHERE {theirs}",  # noqa: S608 - quoted
        f"SELECT owner, epoch FROM partition_owner WHERE partition_id = {place.partition}",  # noqa: S608 - a number
        "ROLLBACK",
    )
    async with deployment.session() as session:
        answers = await session.run(";".join(statements))
    members, messages, cursors, owners = answers[len(SNAPSHOT) : -1]
    owner, epoch = owners[0] if owners else (None, 0)
    return Tables(
        {str(row[0]): row for row in members},
        [Row(*row) for row in messages],
        {(str(user), str(device)): seq for user, device, seq in cursors},
        owner or None,
        epoch,
    )


async def _devices(deployment: Deployment, user: str) -> list[tuple[str, people.KnownDevice]]:
    return [(user, one) for one in await people.devices(deployment, user) if one.device]
