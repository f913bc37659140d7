"""The shell around a session: it feeds inputs and performs the effects, in order.

Inputs come from the socket, from one timer and from the application; each is handled at once, on the
event loop's thread, so no two ever overlap. Never decides anything that the session decides.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from chatclient.answers import Answers
from chatclient.connections import Connections
from chatclient.errors import ChatClosed, ChatError, ConnectionEnded
from chatclient.event_queue import EventQueue
from chatclient.events import Event, SendFailed, Sent, SyncDone
from chatclient.session import Session
from chatclient.session import effects as e
from chatclient.session import inputs as i
from chatclient.state import State
from chatclient.tokens import TokenSource

_log = logging.getLogger("chatclient")


class Engine:
    """One device's running session. `start` and `stop` it once, in the same loop."""

    def __init__(
        self, *, urls: Sequence[str], token: TokenSource, device: str, state: State, events: EventQueue
    ) -> None:
        self._state = state
        self.session = Session(state.load(), renewable=not isinstance(token, str))
        self.events = events
        self.synced = asyncio.Event()
        self.ended: ChatError | None = None
        self._answers = Answers()
        self._connections = Connections(urls=urls, token=token, device=device, events=events, feed=self.feed)
        self._keeper: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._keeper = asyncio.create_task(self._connections.run(), name="chatclient")
        self._keeper.add_done_callback(self._supervise)
        self.feed(i.Started())

    async def stop(self) -> None:
        """Write the last acknowledgements, close the connection, end everybody's waiting."""
        try:
            self.feed(i.Closing())
            await self._connections.flush()
        finally:
            self._end(ChatClosed("the chat was closed"))
            if self._keeper is not None:
                await asyncio.wait([self._keeper])

    def feed(self, event: i.Input) -> None:
        """Apply an input and perform its effects."""
        if self.ended is not None:
            return
        effects = self.session.handle(event, asyncio.get_running_loop().time())
        # All at once and first: no frame goes out, and nothing is told, that relies on a record not kept.
        records = [effect.record for effect in effects if isinstance(effect, e.Keep)]
        if records:
            self._state.write(records)
        for effect in effects:
            self._perform(effect)
        self._set_timer()

    async def expect(self, message: i.Submitted) -> Sent:
        """Submit a message and wait for its `sent`; being cancelled, leave it in the outbox."""
        answer = self._answers.expect_sent(message.to, message.id)
        self.feed(message)
        with self.events.awaited():
            return await asyncio.shield(answer)  # another task may wait for the same message

    async def ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Make a request and wait for its answer; being cancelled, withdraw it."""
        ref, answer = self._answers.expect_answer()
        try:
            self.feed(i.Asked(ref, frame))
            with self.events.awaited():
                return await answer
        finally:
            self._answers.forget(ref)
            self.feed(i.Dropped(ref))

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.Write(frame):
                self._connections.write(frame)
            case e.Dial(since):
                self._connections.dial(since)
            case e.HangUp():
                self._connections.hang_up()
            case e.End(reason):
                self._end(ConnectionEnded(reason))
            case e.Tell(event):
                self._tell(event)
            case _:
                self._settle(effect)

    def _settle(self, effect: e.Effect) -> None:
        """End somebody's waiting; what nobody awaits, since it is of an earlier run, becomes an event."""
        match effect:
            case e.Settle(sent):
                if not self._answers.settle(sent):
                    self._tell(sent)
            case e.Reject(ref, peer, code, message):
                if not self._answers.reject(ref, peer, code, message) and peer is not None:
                    self._tell(SendFailed(ref, peer, code))
            case e.Answer(ref, frame):
                self._answers.answer(ref, frame)

    def _tell(self, event: Event) -> None:
        self.events.put(event)
        if isinstance(event, SyncDone):
            self.synced.set()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wake_at = None if self.ended is not None else self.session.wake_at
        loop = asyncio.get_running_loop()
        self._timer = None if wake_at is None else loop.call_at(wake_at, self.feed, i.Ticked())

    def _end(self, reason: ChatError) -> None:
        if self.ended is not None:
            return
        self.ended = reason
        self.events.end(reason)
        self._answers.end(reason)
        self.synced.set()
        self._set_timer()
        if self._keeper is not None:
            self._keeper.cancel()

    def _supervise(self, keeper: asyncio.Task[None]) -> None:
        """End a chat whose connections' task died: it must not pretend to live."""
        error = None if keeper.cancelled() else keeper.exception()
        if error is not None:
            _log.error("chat ended", exc_info=error)
            self._end(error if isinstance(error, ChatError) else ChatError(repr(error)))
