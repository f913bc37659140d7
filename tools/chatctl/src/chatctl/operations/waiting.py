"""Owns the look for a send that is in no table: unsettled in its stream, or given up on."""

from dataclasses import dataclass
from typing import Any, Final

from chatcore.errors import CodecError
from chatcore.ids import ConversationId, conversation_id
from chatcore.redis_client import answered
from chatcore.stream import FIELD, SendEvent, decode_entry
from chatcore.trace import Context, traced_of
from redis.asyncio import Redis

from chatctl.deployment import Deployment
from chatctl.operations import dead
from chatctl.operations.clock import entry_ms

PAGE: Final = 500
"""Entries that are read at once: at most 128 MB of the largest, some 100 KB of usual ones."""
DEAD_LETTERS: Final = 10_000
"""As many as a worker keeps, where nobody set another number."""


@dataclass(frozen=True, slots=True)
class InStream:
    """A send in an entry that is not settled."""

    user: str
    device: str
    client_id: str
    gateway: str
    connection: int
    stream: str
    entry: str
    accepted_ms: int
    """By the gateway's clock."""
    written_ms: int
    """By Redis's."""
    trace: str | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A send that is a dead letter."""

    letter: dead.Letter
    at_ms: int


async def in_stream(
    deployment: Deployment, redis: Redis, partition: int, users: tuple[str, str], client_id: str
) -> list[InStream]:
    """Find a client id of either user in their conversation's stream. Raises `StoreUnavailable`."""
    stream, conversation = deployment.keys.inbox(partition), conversation_id(*users)
    found: list[InStream] = []
    start = "-"
    while True:
        page: Any = await answered(redis.xrange(stream, min=start, count=PAGE))
        for entry_id, fields in page:
            found += _sends(stream, entry_id.decode(), fields.get(FIELD, b""), conversation, client_id)
        if len(page) < PAGE:
            return found
        start = f"({page[-1][0].decode()}"


async def given_up(deployment: Deployment, users: tuple[str, str], client_id: str) -> list[GivenUp]:
    """Find a client id of either user among the dead letters. Raises `StoreUnavailable`."""
    return [
        GivenUp(letter, entry_ms(letter.id))
        for letter in await dead.letters(deployment, DEAD_LETTERS)
        if letter.client_id == client_id and {letter.user, letter.peer} == set(users)
    ]


def _sends(stream: str, entry: str, data: bytes, conversation: ConversationId, client_id: str) -> list[InStream]:
    try:
        events = decode_entry(data)
    except CodecError:
        return []
    traces = {(one.user, one.client_id): one.traceparent for one in traced_of(data) if one.client_id is not None}
    return [
        _found(stream, entry, events.accepted_ms, event, traces.get((event.origin.user, event.client_id)))
        for event in events.events
        if isinstance(event, SendEvent)
        and event.client_id == client_id
        and conversation_id(event.origin.user, event.peer) == conversation
    ]


def _found(stream: str, entry: str, accepted_ms: int, event: SendEvent, traceparent: str | None) -> InStream:
    context = Context.decode(traceparent) if traceparent else None
    origin = event.origin
    return InStream(
        user=origin.user,
        device=origin.device,
        client_id=event.client_id,
        gateway=origin.gateway,
        connection=origin.connection,
        stream=stream,
        entry=entry,
        accepted_ms=accepted_ms,
        written_ms=entry_ms(entry),
        trace=context.trace if context else None,
    )
