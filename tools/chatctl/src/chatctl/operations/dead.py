"""Owns the dead letters: what was given up on, why, and how it goes back or goes away.

Going back is a decision of people: the sender was told a final error, so its client has given the frame up as well.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from chatcore.ids import conversation_id, partition_of
from chatcore.redis_client import answered
from chatcore.stream import FIELD, ack_item, encode_entry, send_item
from redis.asyncio import Redis

from chatctl.deployment import Deployment
from chatctl.failure import Failure
from chatctl.operations.backlog import partition_count
from chatctl.operations.clock import entry_ms, now_ms

_EVENT_FIELDS: Final = 8
"""Gateway, connection, user, device, peer, two values, ref: what a worker keeps of an event."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, without its body."""

    id: str
    age_s: float
    partition: int
    kind: str
    """`send`, `ack`, or `entry` for what could not be read at all."""
    user: str | None
    peer: str | None
    client_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Content:
    """A dead letter whole."""

    letter: Letter
    entry: str
    data: str


@dataclass(frozen=True, slots=True)
class Handled:
    """A dead letter that is one no more."""

    id: str
    back_in: str | None
    """The stream in which it is again; None: it is gone for good."""


async def letters(deployment: Deployment, limit: int) -> list[Letter]:
    """Read the newest dead letters. Raises `StoreUnavailable`."""
    async with deployment.redis() as redis:
        now = await now_ms(redis)
        found: Any = await answered(redis.xrevrange(deployment.keys.dead, count=limit))
    return [_letter(entry_id, fields, now) for entry_id, fields in found]


async def content(deployment: Deployment, letter_id: str) -> Content:
    """Read one. Raises `Failure` when it is not there, `StoreUnavailable`."""
    async with deployment.redis() as redis:
        fields = await _fields(redis, deployment, letter_id)
        letter = _letter(letter_id.encode(), fields, await now_ms(redis))
    return Content(letter, fields[b"entry"].decode(), fields[b"data"].decode("utf-8", "replace"))


async def requeue(deployment: Deployment, letter_id: str) -> Handled:
    """Put a letter back into its conversation's stream, and take it out of the dead ones.

    Both in one MULTI: it is never in neither. Raises `Failure`, `StoreUnavailable`.
    """
    partitions = await partition_count(deployment)
    async with deployment.redis() as redis:
        fields = await _fields(redis, deployment, letter_id)
        event = _event(fields[b"data"])
        if event is None:
            partition, entry = int(fields[b"partition"]), fields[b"data"]
        else:
            partition = partition_of(conversation_id(event[2], event[4]), partitions)
            entry = encode_entry(event[0], await now_ms(redis), [_item(event)])
        stream = deployment.keys.inbox(partition)
        pipeline = redis.pipeline(transaction=True)
        pipeline.xadd(stream, {FIELD: entry})
        pipeline.xdel(deployment.keys.dead, letter_id)
        await answered(pipeline.execute())
    return Handled(letter_id, stream)


async def drop(deployment: Deployment, letter_id: str) -> Handled:
    """Delete a letter for good. Raises `Failure` when it is not there, `StoreUnavailable`."""
    async with deployment.redis() as redis:
        if not await answered(redis.xdel(deployment.keys.dead, letter_id)):
            raise _missing(letter_id)
    return Handled(letter_id, None)


async def _fields(redis: Redis, deployment: Deployment, letter_id: str) -> dict[bytes, bytes]:
    found: Any = await answered(redis.xrange(deployment.keys.dead, letter_id, letter_id))
    if not found:
        raise _missing(letter_id)
    fields: dict[bytes, bytes] = found[0][1]
    return fields


def _missing(letter_id: str) -> Failure:
    return Failure(f"no dead letter {letter_id}", advice="`chatctl dead list` names those that there are")


def _letter(entry_id: bytes, fields: dict[bytes, bytes], now: int) -> Letter:
    event = _event(fields[b"data"])
    age_s = max(now - entry_ms(entry_id), 0) / 1000
    partition, reason = int(fields[b"partition"]), fields[b"reason"].decode()
    if event is None:
        return Letter(entry_id.decode(), age_s, partition, "entry", None, None, None, reason)
    _, _, user, _, peer, first, _, _ = event
    send = isinstance(first, str)
    kind, client_id = ("send", first) if send else ("ack", None)
    return Letter(entry_id.decode(), age_s, partition, kind, user, peer, client_id, reason)


def _event(data: bytes) -> list[Any] | None:
    """Read the event that a worker kept; None for the bytes of a whole entry, which it could not read either."""
    try:
        values = orjson.loads(data)
    except ValueError:
        return None
    is_event = isinstance(values, list) and len(values) == _EVENT_FIELDS
    return values if is_event and isinstance(values[2], str) and isinstance(values[4], str) else None


def _item(event: list[Any]) -> Any:
    _, connection, user, device, peer, first, second, ref = event
    make: Any = send_item if isinstance(first, str) else ack_item
    return make(connection, user, device, peer, first, second, ref)
