"""What an application holds: a chat to send with, to ask, and to iterate over.

Translates calls into inputs of the session. Never talks to a socket or a file itself.
"""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from chatclient.checks import check_device, check_send, check_user
from chatclient.engine import Engine
from chatclient.errors import ChatClosed, OutboxFull, RequestRefused
from chatclient.event_queue import EVENTS_MAX, EventQueue
from chatclient.events import (
    ConversationPage,
    Event,
    HistoryPage,
    Marks,
    Message,
    Sent,
    read_conversation,
    read_message,
)
from chatclient.session import inputs as i
from chatclient.session.limits import OUTBOX_MAX, REQUESTS_MAX
from chatclient.session.records import OutboxAdded
from chatclient.state import MemoryState, State
from chatclient.tokens import TokenSource


class Chat:
    """A device of one user. Made by `connect`; use it with `async with`, in one event loop.

    Iterate over it for events, in one task. A message counts as held, and is acknowledged, when the
    iteration hands it out; so an application that does not iterate acknowledges nothing, and once
    its queue is full, it reads nothing more either, unless it awaits an answer.
    """

    def __init__(self, engine: Engine, state: State) -> None:
        self._engine = engine
        self._state = state

    async def __aenter__(self) -> Self:
        self._engine.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._engine.stop()
        finally:
            self._state.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """Return the next event. Raise ConnectionEnded when the server sent this device away for good."""
        try:
            event = await self._engine.events.get()
        except ChatClosed:
            raise StopAsyncIteration from None
        if isinstance(event, Message):
            self._engine.feed(i.Taken(event.peer, event.seq))
        return event

    async def synced(self) -> None:
        """Wait until the first sync is finished; raise ConnectionEnded if it never can be."""
        await self._engine.synced.wait()
        if self._engine.ended is not None:
            raise self._engine.ended

    async def send(self, to: str, body: str, *, message_id: str | None = None) -> Sent:
        """Send a message and wait until it is committed.

        Cancelling gives up waiting, not sending: the message stays in the outbox. Give `message_id` only
        to send a message of an earlier run again. Raises SendRefused, OutboxFull, ChatClosed or
        ConnectionEnded.
        """
        key = message_id or new_message_id()
        engine = self._engine
        check_send(key, to, body, engine.session.limits)
        self._alive()
        if engine.session.unanswered >= OUTBOX_MAX:
            raise OutboxFull(f"{OUTBOX_MAX} messages wait for an answer")
        return await engine.expect(i.Submitted(id=key, to=to, body=body))

    def unsent(self) -> tuple[OutboxAdded, ...]:
        """Return the messages that are not committed yet, in the order of sending."""
        return self._engine.session.unsent()

    def read(self, peer: str, seq: int) -> None:
        """Say that the user has read everything up to and including `seq`."""
        self._engine.feed(i.MarkedRead(peer, seq))

    def marks(self, peer: str) -> Marks:
        """Return the watermarks of the conversation with `peer`."""
        return self._engine.session.marks(peer)

    def typing(self, peer: str) -> None:
        """Say that the user is typing; lost without a connection."""
        self._engine.feed(i.Typed(peer))

    def subscribe(self, users: Iterable[str]) -> None:
        """Tell Presence events of these users from now on, over every reconnection.

        Raises RequestRefused when they are more than the server allows a connection.
        """
        names = tuple(dict.fromkeys(users))
        for name in names:
            check_user(name)
        if self._engine.session.watched_with(names) > self._engine.session.limits.max_subscriptions:
            raise RequestRefused("overloaded", "too many subscriptions")
        self._engine.feed(i.Watched(names))

    def unsubscribe(self, users: Iterable[str]) -> None:
        """End these subscriptions."""
        self._engine.feed(i.Unwatched(tuple(users)))

    async def history(
        self, peer: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> HistoryPage:
        """Return a page of messages, with their states; the newest without a bound. Bounds are exclusive."""
        bounds = {"before": before, "after": after}
        named = {name: bound for name, bound in bounds.items() if bound is not None}
        frame = await self._ask({"type": "history", "peer": peer, "limit": limit, **named})
        messages = tuple(read_message(message, peer) for message in frame["messages"])
        return HistoryPage(peer=peer, messages=messages, more=frame["more"])

    async def conversations(self, *, limit: int = 50, cursor: str | None = None) -> ConversationPage:
        """Return a page of the user's conversations, the latest first; `cursor` from the page before."""
        named = {} if cursor is None else {"cursor": cursor}
        frame = await self._ask({"type": "conversations", "limit": limit, **named})
        return ConversationPage(tuple(read_conversation(item) for item in frame["items"]), frame.get("cursor"))

    async def _ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        self._alive()
        if self._engine.session.requested >= REQUESTS_MAX:
            raise RequestRefused("overloaded", "too many requests wait for their answer")
        return await self._engine.ask(frame)

    def _alive(self) -> None:
        if self._engine.ended is not None:
            raise self._engine.ended


def new_message_id() -> str:
    """Make an id that no other send of any device has."""
    return secrets.token_hex(16)


def connect(
    url: str | Sequence[str],
    token: TokenSource,
    *,
    device: str,
    state: State | None = None,
    events_max: int = EVENTS_MAX,
) -> Chat:
    """Open a chat as the user whom the token names; `url` is the base URL of one gateway or of several.

    Does not wait for the connection: what is sent before waits in the outbox. The chat closes `state`.
    """
    check_device(device)
    urls = [url] if isinstance(url, str) else list(url)
    if not urls:
        raise ValueError("at least one gateway is needed")
    kept = state or MemoryState()
    engine = Engine(urls=urls, token=token, device=device, state=kept, events=EventQueue(events_max))
    return Chat(engine, kept)
