"""Events on their way to the application: one bounded queue, and what a full one does.

Never drops a message: it tells the reader of the socket to wait.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from chatclient.events import (
    Connected,
    Disconnected,
    EpochChanged,
    Event,
    Message,
    Presence,
    Receipt,
    SyncDone,
    Typing,
)

EVENTS_MAX = 10_000
"""Events waiting for the application. When it is full the client stops reading the socket, which makes the
server close it with 4408. While the application awaits an answer it reads on, since the answer comes behind
what the queue has no room for: then the session bounds the messages, and the newest of the others replaces
the one before."""


class EventQueue:
    """A queue that ends. Putting never waits; `room` is what a polite writer awaits first."""

    def __init__(self, bound: int = EVENTS_MAX) -> None:
        self._bound = bound
        self._events: OrderedDict[Hashable, Event] = OrderedDict()
        self._count = 0
        self._awaited = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._end: Exception | None = None

    def put(self, event: Event) -> None:
        """Add an event."""
        if isinstance(event, Disconnected) and self._events:
            newest = next(reversed(self._events))
            if isinstance(self._events[newest], Disconnected):
                del self._events[newest]  # an hour without a network is one state, not a thousand
        if isinstance(event, EpochChanged):
            void = [key for key, kept in self._events.items() if isinstance(kept, Message | Receipt)]
            for key in void:
                del self._events[key]
        key = self._key(event)
        self._events.pop(key, None)
        self._events[key] = event
        self._filled.set()
        self._mind_room()

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return len(self._events)

    @property
    def has_room(self) -> bool:
        """Whether the socket should be read."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until the application has taken enough."""
        await self._room.wait()

    async def get(self) -> Event:
        """Take the next event; raise what `end` was given when none is left. Cancelling loses nothing."""
        while not self._events:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        event = self._events.popitem(last=False)[1]
        self._mind_room()
        return event

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Let the socket be read meanwhile, however full the queue is: an answer is on its way."""
        self._awaited += 1
        self._mind_room()
        try:
            yield
        finally:
            self._awaited -= 1
            self._mind_room()

    def end(self, reason: Exception) -> None:
        """Let readers take what is left, and then raise."""
        self._end = self._end or reason
        self._filled.set()

    def _mind_room(self) -> None:
        if self._awaited or len(self._events) < self._bound:
            self._room.set()
        else:
            self._room.clear()

    def _key(self, event: Event) -> Hashable:
        """Name what an event is the newest state of; nothing is replaced before the queue is full."""
        if len(self._events) >= self._bound:
            match event:
                case Receipt(peer, user):
                    return "receipt", peer, user
                case Presence(user):
                    return "presence", user
                case Typing(peer):
                    return "typing", peer
                case Connected() | Disconnected() | SyncDone():
                    return type(event).__name__
        self._count += 1
        return self._count
