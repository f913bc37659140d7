"""Owns a connection to a twin: messages both ways, in order, until somebody cuts it.

A message is late by what its road says; here there is no byte and no socket. It must never deliver one out of order,
since TCP does not.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Protocol

from chatctl.simulate.event_loop import Stream

APART_S: Final = 1e-9
"""Between two messages of one direction: an event loop does not keep the order of timers of the same moment."""


class Session(Protocol):
    """The server's side of a connection."""

    def received(self, message: Any) -> None:
        """Take a message of the client's."""

    def closed(self) -> None:
        """The client is gone."""


class Server(Protocol):
    """What can be connected to."""

    def accept(self, tell: Callable[[Any], None], cut: Callable[[], None], client: str) -> Session:
        """Begin a session: `tell` sends the client a message, `cut` ends the connection. Raises OSError: refused."""


class Road(Protocol):
    """How messages travel between a client and a server."""

    @property
    def client(self) -> str:
        """Name the client's process."""

    def delay_s(self, channel: "Channel", *, answer: bool) -> float:
        """Give how late a message is. It may end the channel instead: then nothing arrives."""

    def open_context(self) -> Context | None:
        """Give the context in which the server's side runs; None for the current one."""


class Straight:
    """A road without delay or fault."""

    client = "somebody"

    def delay_s(self, channel: "Channel", *, answer: bool) -> float:
        """Say that it arrives at once."""
        return 0.0

    def open_context(self) -> Context | None:
        """Stay in the current context."""
        return None


class Channel(Stream):
    """The client's side of a connection. One task at a time reads it."""

    def __init__(self, server: Server, road: Road) -> None:
        self._loop = asyncio.get_running_loop()
        self._road = road
        self._context = road.open_context()
        self._air = Context()  # what is on its way back arrives, whatever becomes of the server
        self._inbox: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._there = self._back = 0.0
        self.broken = False
        self.sent = 0
        """Messages that the client sent."""
        self._session: Session | None = server.accept(self._tell, self.cut, road.client)

    def send(self, message: Any) -> None:
        """Send a message. Raises `ConnectionResetError` on a connection that is known to be cut."""
        if self.broken:
            raise ConnectionResetError("the connection is cut")
        self.sent += 1
        delay_s = self._road.delay_s(self, answer=False)
        self._there = max(self._there + APART_S, self._loop.time() + delay_s)
        self._loop.call_at(self._there, self._arrived, message, context=self._context)

    async def receive(self) -> Any:
        """Wait for the server's next message. Raises `ConnectionResetError` when the connection is cut first."""
        while not self._inbox:
            if self.broken:
                raise ConnectionResetError("the connection is cut")
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._inbox.popleft()

    def cut(self) -> None:
        """End the connection for both sides, as a reset does: what is on its way is lost."""
        if self.broken:
            return
        self.broken = True
        self._inbox.clear()
        self._wake()
        self._loop.call_soon(self._end_session, context=self._context)

    def close(self) -> None:
        """Let go. What was sent before still arrives, and then the server hears of the end."""
        if self.broken:
            return
        self.broken = True
        self._inbox.clear()
        self._wake()
        at = max(self._there + APART_S, self._loop.time() + self._road.delay_s(self, answer=False))
        self._loop.call_at(at, self._end_session, context=self._context)

    def _arrived(self, message: Any) -> None:
        if self._session is not None:
            self._session.received(message)

    def _tell(self, message: Any) -> None:
        delay_s = self._road.delay_s(self, answer=True)
        if not self.broken:
            self._back = max(self._back + APART_S, self._loop.time() + delay_s)
            self._loop.call_at(self._back, self._came, message, context=self._air)

    def _came(self, message: Any) -> None:
        if not self.broken:
            self._inbox.append(message)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.closed()
