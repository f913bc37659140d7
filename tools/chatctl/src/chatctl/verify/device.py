"""Owns `BareDevice`, which does on the bare protocol everything that PROTOCOL section 6 asks of a client.

It connects to any gateway, stays connected until it is stopped, records all that it says and sees in a `History`, and
does on request what networks and people do: stall, leave, vanish, come back elsewhere while the old connection stands.
It must never use the project's own client library.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from chatctl.verify import history as h
from chatctl.verify.connection import EXPECT_TIMEOUT_S, ConnectionClosed, RawConnection, Refused
from chatctl.verify.contract import BrokenContract
from chatctl.verify.device_inbox import Inbox
from chatctl.verify.device_state import DeviceState, Outgoing
from chatctl.verify.device_writer import Writer
from chatctl.verify.final_state import DeviceEnd
from chatctl.verify.history import History, Observation, Witness

SILENCE_S: Final = 60.0
FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 30.0
LINGER_S: Final = 8.0
"""Seconds for which a connection that was left standing is read: a newer one ends it well before."""
FATAL_CLOSES: Final = frozenset({1007, 1008, 1009, 4403})
FATAL_STATUSES: Final = frozenset({400, 403})
"""A refused token (401, 4401) is none: the next try carries a new one."""

How = Literal["close", "abort", "linger"]


class BareDevice:
    """One device of one user. `start` and `stop` may be called again and again; what it knows stays."""

    def __init__(
        self,
        *,
        user: str,
        device: str,
        gateways: Callable[[], Sequence[str]],
        token: Callable[[], str],
        history: History | None = None,
        window: int = 200,
        reads: bool = True,
        last_backoff_s: float = LAST_BACKOFF_S,
        connection: type[RawConnection] = RawConnection,
    ) -> None:
        self.user = user
        self.device = device
        self.history = History() if history is None else history
        self.state = DeviceState()
        self.witness = Witness(self.history, user, device)
        self.inbox = Inbox(user=user, state=self.state, witness=self.witness, reads=reads)
        self.connections = 0
        self.closes: list[int] = []
        self._gateways = gateways
        self._token = token
        self._last_backoff_s = last_backoff_s
        self._connection = connection
        self._random = random.Random(f"{user}/{device}")  # noqa: S311 - a seeded course of events, no secret
        self._writer = Writer(state=self.state, inbox=self.inbox, witness=self.witness, window=window)
        self._task: asyncio.Task[None] | None = None
        self._lingering: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._leave = asyncio.Event()
        self._how: How = "close"
        self._away_s: float | None = None
        self._reads_on = asyncio.Event()
        self._reads_on.set()
        self._preferred: str | None = None

    def prefer(self, base: str) -> None:
        """Connect to this gateway first, the next time."""
        self._preferred = base

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._task = asyncio.create_task(self._run(), name=f"device {self.user}/{self.device}")

    @property
    def started(self) -> bool:
        """Whether it is, or tries to be, connected."""
        return self._task is not None and not self._task.done()

    @property
    def failure(self) -> BaseException | None:
        """What ended it, if an error did."""
        ended = self._task is not None and self._task.done() and not self._task.cancelled()
        return self._task.exception() if ended and self._task is not None else None

    async def stop(self) -> None:
        """Disconnect; raises what ended the device, if something did."""
        task, self._task = self._task, None
        self.inbox.begin_connection()
        lingering = list(self._lingering)
        for job in [task, *lingering]:
            if job is not None:
                job.cancel()
        await asyncio.gather(*lingering, return_exceptions=True)
        if task is not None:
            with suppress(asyncio.CancelledError):
                await task

    def send(self, peer: str, client_id: str, body: str) -> None:
        """Put a message into the outbox: it goes out as soon as the protocol allows, until it is answered."""
        self.state.outbox[client_id] = Outgoing(peer=peer, body=body)
        self._writer.wake.set()

    def read(self, peer: str, seq: int) -> None:
        """The user has read up to `seq`."""
        known = self.state.peer(peer)
        known.own_read = max(known.own_read, seq)
        known.due_at = 0.0
        self._writer.wake.set()

    def say(self, frame: dict[str, Any], kind: Callable[..., Observation] | None = None, *fields: object) -> None:
        """Write any one frame, if a connection stands; see `Writer.say`."""
        self._writer.say(frame, kind, *fields)

    def watch(self, users: Sequence[str]) -> None:
        """Subscribe to the presence of these users, over all connections to come."""
        self._writer.watch(tuple(users))

    def go(self, how: How, *, away_s: float | None = None) -> None:
        """Leave the connection, and come back after `away_s` (None: after the usual backoff).

        `linger` leaves it standing, so that the next one of this device replaces it.
        """
        self._how, self._away_s = how, away_s
        self._leave.set()

    def stall(self, *, begins: bool) -> None:
        """Stop reading, or read on."""
        if begins == self._reads_on.is_set():
            self.witness.saw(h.Stalling, begins)
            (self._reads_on.clear if begins else self._reads_on.set)()

    async def until(self, condition: Callable[[], bool], *, what: str, timeout_s: float = EXPECT_TIMEOUT_S) -> None:
        """Wait until a condition on this device's state holds; fails with `what` at the deadline."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                while not condition():
                    if self._task is not None and self._task.done():
                        self._task.result()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.user}/{self.device}: {what}; {self.summary()}") from None

    async def synced(self, *, timeout_s: float = EXPECT_TIMEOUT_S) -> None:
        """Wait until the current connection has finished a sync."""
        await self.until(lambda: self.inbox.synced, what="no sync was finished", timeout_s=timeout_s)

    def summary(self) -> str:
        """Say in one line where the device stands, for a failing test."""
        cursors = {name: peer.cursor for name, peer in list(self.state.peers.items())[:5]}
        owed = len(self.state.outbox)
        return f"connections {self.connections}, closes {self.closes[-5:]}, cursors {cursors}, {owed} unanswered"

    def end(self, *, came_late: bool = False) -> DeviceEnd:
        """Return what the device knows, for the judge."""
        peers = self.state.peers
        return DeviceEnd(
            user=self.user,
            device=self.device,
            start={name: peer.start or 0 for name, peer in peers.items()},
            cursor={name: peer.cursor for name, peer in peers.items()},
            own_read={name: peer.own_read for name, peer in peers.items()},
            peer_delivered={name: peer.peer_delivered for name, peer in peers.items()},
            peer_read={name: peer.peer_read for name, peer in peers.items()},
            held={name: dict(peer.held) for name, peer in peers.items()},
            unanswered=frozenset(self.state.outbox),
            came_late=came_late,
        )

    async def _run(self) -> None:
        failures = 0
        avoid = ""
        while True:
            base = self._pick(avoid)
            avoid = ""
            try:
                self.witness.saw(h.Connecting, base)
                connection = await self._connection.open(base, self._token(), self.device, since=self.state.since)
            except (OSError, Refused, TimeoutError, ConnectionClosed) as error:
                if isinstance(error, Refused) and error.status in FATAL_STATUSES:
                    raise
                failures = await self._back_off(failures)
                continue
            if await self._live(connection):
                avoid = base
            failures = 0 if self.inbox.synced else failures
            failures = await self._come_back(failures)

    def _pick(self, avoid: str) -> str:
        preferred, self._preferred = self._preferred, None
        if preferred is not None:
            return preferred
        gateways = list(self._gateways())
        others = [base for base in gateways if base != avoid]
        return self._random.choice(others or gateways)

    async def _come_back(self, failures: int) -> int:
        away_s, self._away_s = self._away_s, None
        if away_s is None:
            return await self._back_off(failures)
        await asyncio.sleep(away_s)
        return failures

    async def _back_off(self, failures: int) -> int:
        await asyncio.sleep(self._random.uniform(0, min(self._last_backoff_s, FIRST_BACKOFF_S * 2**failures)))
        return min(failures + 1, 10)

    async def _live(self, connection: RawConnection) -> bool:
        """Serve one connection until it ends; says whether the device left it of its own will."""
        self.connections += 1
        self.witness.link = self.history.next_link()
        self._leave.clear()
        self._how = "close"
        self.state.forget_connection()
        self.inbox.begin_connection()
        self._writer.begin_connection()
        jobs = [
            asyncio.create_task(work, name=f"{what} {self.user}/{self.device}")
            for what, work in (("reader", self._read_frames(connection)), ("leaver", self._leave.wait()))
        ]
        jobs.append(asyncio.create_task(self._writer.run(connection), name=f"writer {self.user}/{self.device}"))
        try:
            await asyncio.wait(jobs[:2], return_when=asyncio.FIRST_COMPLETED)
            left = not jobs[0].done()
        finally:
            for job in jobs:
                job.cancel()
            try:
                await asyncio.gather(*jobs, return_exceptions=True)
            finally:  # stopped here, too, it has ended
                await self._let_go(connection, ours=jobs[0].cancelled() or not jobs[0].done())
        if not left:
            jobs[0].result()
        return left

    async def _let_go(self, connection: RawConnection, *, ours: bool) -> None:
        link = self.witness.link
        self.witness.link = 0
        if ours and self._how == "linger" and self._task is not None:
            job = asyncio.create_task(self._linger(connection, link), name=f"linger {self.user}/{self.device}")
            self._lingering.add(job)
            job.add_done_callback(self._lingering.discard)
            return
        if ours:
            self.witness.of_link(link).saw(h.Closed, 0, ours=True)
            if self._how == "abort":
                connection.abort()
        await asyncio.shield(connection.close())

    async def _linger(self, connection: RawConnection, link: int) -> None:
        """Let a connection stand until the server ends it; what still comes on it is only held to the protocol.

        But for presence: its watcher is told on this one for as long as the next waits for its `welcome`.
        """
        witness = self.witness.of_link(link)
        code, ours = 0, True  # so it ends at the deadline, and where the device is stopped meanwhile
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    code, ours = await _watched_on(connection, witness), False
        except BrokenContract as broken:
            witness.saw(h.Garbled, str(broken))
        finally:
            witness.saw(h.Closed, code, ours=ours)
            await asyncio.shield(connection.close())

    async def _read_frames(self, connection: RawConnection) -> None:
        loop = asyncio.get_running_loop()
        leaving: asyncio.TimerHandle | None = None
        try:
            while True:
                await self._reads_on.wait()
                frame = await connection.receive(timeout_s=SILENCE_S, pings_count=True)
                if frame["type"] == "goaway" and leaving is None:
                    leaving = loop.call_later(frame["reconnect_after_ms"] / 1000, self._leave.set)
                self.inbox.take(frame, loop.time())
                self._writer.wake.set()
                async with self._changed:
                    self._changed.notify_all()
        except TimeoutError:
            self._note_end(0)
        except ConnectionClosed as closed:
            self._note_end(closed.code)
            if closed.code in FATAL_CLOSES:
                raise
        except BrokenContract as broken:
            self.witness.saw(h.Garbled, str(broken))
            self._note_end(0)
            raise
        finally:
            if leaving is not None:
                leaving.cancel()

    def _note_end(self, code: int) -> None:
        self.closes.append(code)
        self.witness.saw(h.Closed, code, ours=False)


async def _watched_on(connection: RawConnection, witness: Witness) -> int:
    """Note what is told of presence until the connection ends; gives its close code."""
    while True:
        try:
            frame = await connection.receive(timeout_s=LINGER_S)
        except ConnectionClosed as closed:
            return closed.code
        if frame["type"] == "presence":
            witness.saw(h.PresenceTold, frame["user"], frame["online"])
