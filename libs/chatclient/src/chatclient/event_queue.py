"""Events on their way to the application: one bounded queue, and what a full one does.

Never drops a message: it tells the reader of the socket to wait.
"""

import asyncio
from collections import deque

from chatclient.events import Disconnected, EpochChanged, Event, Message, Receipt

EVENTS_MAX = 10_000
"""Events waiting for the application. When it is full the client stops reading the socket, which makes the
server close it with 4408; one frame's events (a page of a sync) may come on top."""


class EventQueue:
    """A queue that ends. Putting never waits; `room` is what a polite writer awaits first."""

    def __init__(self, bound: int = EVENTS_MAX) -> None:
        self._bound = bound
        self._events: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._end: Exception | None = None

    def put(self, event: Event) -> None:
        """Add an event."""
        if isinstance(event, Disconnected) and self._events and isinstance(self._events[-1], Disconnected):
            self._events.pop()  # an hour without a network is one state, not a thousand
        if isinstance(event, EpochChanged):
            self._events = deque(kept for kept in self._events if not isinstance(kept, Message | Receipt))
        self._events.append(event)
        self._filled.set()
        if len(self._events) >= self._bound:
            self._room.clear()

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
        event = self._events.popleft()
        if len(self._events) < self._bound:
            self._room.set()
        return event

    def end(self, reason: Exception) -> None:
        """Let readers take what is left, and then raise."""
        self._end = self._end or reason
        self._filled.set()
