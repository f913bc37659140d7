"""One connection after the other, each when the session asks for it, and the tasks that serve it.

Owns every task of a chat. Never decides whether to come back: it tells how a connection ended.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from chatclient.errors import ProtocolBroken
from chatclient.event_queue import EventQueue
from chatclient.session import inputs as i
from chatclient.tokens import RENEW_PAUSE_S, RENEW_TIMEOUT_S, TokenSource, obtain, renew_in_s
from chatclient.wire import Address, HandshakeRefused, Wire, luck, open_wire, shuffled

WRITES_MAX = 5_000
"""Frames waiting for the socket: more than all windows of the protocol together. A socket that takes none of
them is given up; the outbox, the requests and the next sync bring them again."""
FAREWELL_S = 1.0
"""Seconds that closing may take to write the last acknowledgements; the next sync repeats what was lost."""

_log = logging.getLogger("chatclient")


class Connections:
    """The device's connection, to each gateway in turn. `feed` takes what happens on it."""

    def __init__(
        self,
        *,
        urls: Sequence[str],
        token: TokenSource,
        device: str,
        events: EventQueue,
        feed: Callable[[i.Input], None],
    ) -> None:
        # Each device in an order of its own: the first gateway named must not get them all.
        self._urls = deque(shuffled(urls))
        self._token = token
        self._device = device
        self._events = events
        self._feed = feed
        self._writes: deque[dict[str, Any]] = deque()
        self._written = asyncio.Event()
        self._drained = asyncio.Event()
        self._dial: asyncio.Future[str | None] | None = None
        self._talk: asyncio.Task[int | None] | None = None

    def dial(self, since: str | None) -> None:
        """Open a connection as soon as the one before is gone."""
        wanted = self._wanted()
        if not wanted.done():
            wanted.set_result(since)

    def hang_up(self) -> None:
        """Drop the connection; its end is told as any other."""
        if self._talk is not None:
            self._talk.cancel()

    def write(self, frame: dict[str, Any]) -> None:
        """Send a frame when the socket takes it."""
        self._writes.append(frame)
        self._written.set()
        self._drained.clear()
        if len(self._writes) > WRITES_MAX:
            self._writes.clear()
            self.hang_up()

    async def flush(self) -> None:
        """Wait a bounded time until everything was written, or the connection ended."""
        if self._talk is None or self._talk.done() or not self._writes:
            return
        drained = asyncio.create_task(self._drained.wait(), name="chatclient-flush")
        try:
            await asyncio.wait([drained, self._talk], timeout=FAREWELL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()

    async def run(self) -> None:
        """Hold connections until cancelled."""
        while True:
            since = await self._wanted()
            # A new wish may come while the end of this connection is told.
            self._dial = None
            self._feed(await self._connection(since))

    def _wanted(self) -> asyncio.Future[str | None]:
        if self._dial is None:
            self._dial = asyncio.get_running_loop().create_future()
        return self._dial

    async def _connection(self, since: str | None) -> i.Lost | i.Refusal:
        self._writes.clear()
        self._urls.rotate(-1)
        address = Address(self._urls[0], self._device, since)
        self._talk = asyncio.create_task(self._converse(address), name="chatclient-connection")
        try:
            await asyncio.wait([self._talk])
        finally:
            self._talk.cancel()
            await asyncio.wait([self._talk])
        if self._talk.cancelled():
            return i.Lost(None, luck())  # hung up
        try:
            return i.Lost(self._talk.result(), luck())
        except HandshakeRefused as refused:
            return refused.refusal

    async def _converse(self, address: Address) -> int | None:
        """Talk to one gateway until the connection ends; return the close code."""
        token = await self._first_token()
        wire = await open_wire(address, token)
        tasks = [
            asyncio.create_task(self._read(wire), name="chatclient-read"),
            asyncio.create_task(self._write_on(wire), name="chatclient-write"),
            asyncio.create_task(self._renew(token), name="chatclient-renew"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await wire.close()
        for task in done:
            task.result()
        return wire.close_code

    async def _first_token(self) -> str:
        try:
            return await obtain(self._token)
        except Exception as error:  # noqa: BLE001 - the application's function may fail in any way
            _log.warning("no token: %s", type(error).__name__)
            raise HandshakeRefused(i.Refusal(0, "no_token", luck())) from None

    async def _read(self, wire: Wire) -> None:
        def take(frame: dict[str, Any]) -> None:
            try:
                self._feed(i.Arrived(frame))
            except (KeyError, TypeError, AttributeError) as error:
                raise ProtocolBroken(f"a malformed {frame.get('type')!r} frame") from error

        going = True
        while going:
            await self._events.room()
            going = await wire.read(take, lambda: self._feed(i.Heard()))

    async def _write_on(self, wire: Wire) -> None:
        try:
            while True:
                self._written.clear()
                while self._writes:
                    await wire.write(self._writes.popleft())
                self._drained.set()
                await self._written.wait()
        except ConnectionError:
            await asyncio.Event().wait()  # ending first would hide the close code, which the reader is about to find

    async def _renew(self, token: str) -> None:
        """Put a newer token in force before the old one expires, as long as the connection lasts."""
        while True:
            pause_s = None if isinstance(self._token, str) else renew_in_s(token, time.time())
            if pause_s is None:
                await asyncio.Event().wait()  # nothing to renew, and ending would end the connection
                return
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(RENEW_TIMEOUT_S):
                    token = await obtain(self._token)
                self._feed(i.Renewed(token))
            except Exception as error:  # noqa: BLE001 - the application's function may fail in any way
                _log.warning("no newer token: %s", type(error).__name__)
                await asyncio.sleep(RENEW_PAUSE_S)
