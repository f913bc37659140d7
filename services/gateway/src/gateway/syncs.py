"""Owns the pulling of syncs (R4b): who asks for which page, when it is asked again, and how many are in flight.

It never looks into a page.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import uniform
from time import monotonic
from typing import Final

from chatcore.errors import HandshakeRefused, Refusal
from chatcore.ids import ConnectionNumber, DeviceId, GatewayId, UserId
from chatcore.push import Admission, Page
from chatcore.stream import Request, SyncRequest

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics

MAX_IN_FLIGHT: Final = 32
"""Pages asked for at once; 64 KiB each."""
ANSWER_S: Final = 5.0
RETRY_S: Final = 1.0
SPREAD_S: Final = 5.0
PERIOD_S: Final = 300.0
TICK_S: Final = 0.25
"""Seconds between two looks at who waits too long."""
WAITS_S: Final = 3_600.0
"""A pull in our own queue is not asked again: it is in line."""


class Pull:
    """How far one connection's sync is."""

    __slots__ = (
        "admission",
        "asked",
        "began",
        "begin_at",
        "cause",
        "connection",
        "due",
        "number",
        "position",
        "queued",
        "since",
        "token",
    )

    def __init__(self, connection: Connection, token: str, admission: "asyncio.Future[Refusal | None]") -> None:
        self.connection, self.token = connection, token
        self.admission = admission
        self.number = 0
        self.since = self.position = ""
        self.asked = self.queued = False
        """Asked: a worker is to answer. Queued: a page has not left for the socket yet, and the next waits for it."""
        self.due = 0.0
        """When to ask (again); 0: nothing to ask."""
        self.cause = "connect"
        self.began = 0.0
        self.begin_at = 0.0
        """When to begin a new sync; 0: at no time. One is enough: it heals all that was lost before it begins."""


class Syncs:
    """Pulls the pages of all connections."""

    def __init__(
        self,
        *,
        gateway: str,
        ask: Callable[[Request], object],
        metrics: GatewayMetrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._gateway, self._ask, self._metrics, self._clock = gateway, ask, metrics, clock
        self._pulls: dict[int, Pull] = {}
        self._admitting: deque[Pull] = deque()
        self._waiting: deque[Pull] = deque()
        self._queues = [self._admitting, self._waiting]
        self._asked: set[int] = set()
        self._times: list[tuple[float, int]] = []
        """A heap of when to look at which connection: two or three for each, since an answer makes one void."""

    def admit(self, connection: Connection, since: str) -> "asyncio.Future[Refusal | None]":
        """Ask whether the device may connect, and for its first page."""
        pull = Pull(connection, since, asyncio.get_running_loop().create_future())
        self._pulls[connection.number] = pull
        self._begin(pull)
        return pull.admission

    def forget(self, number: int) -> None:
        """The connection is gone."""
        pull = self._pulls.pop(number, None)
        if pull is not None:
            pull.admission.cancel()
            self._asked.discard(number)
            pull.due = 0.0

    def again(self, connections: Iterable[Connection], cause: str) -> None:
        """Sync these connections again, spread (R4a)."""
        now = self._clock()
        for connection in connections:
            pull = self._pulls.get(connection.number)
            if pull is None:
                continue
            at = now + uniform(0, SPREAD_S)  # noqa: S311 - jitter
            if not pull.begin_at or at < pull.begin_at:
                pull.begin_at = at
                heappush(self._times, (at, connection.number))
            pull.cause = cause

    def page(self, number: int, payload: bytes) -> None:
        """A page came: forward it when it is the one that was asked for."""
        pull = self._pulls.get(number)
        page = Page.decode(payload)
        if pull is None or not pull.asked or page.number != pull.number:
            return
        self._answered(pull)
        pull.due = 0.0
        self._metrics.frames_out.counts["sync"] += 1
        if page.position:
            pull.position, pull.queued = page.position, True
            pull.connection.push(page.frame, lambda: self._next(pull))
        else:
            pull.token = page.token
            self._metrics.sync_seconds.observe(self._clock() - pull.began)
            pull.connection.push(page.frame)
            if not pull.begin_at:
                pull.begin_at = self._clock() + PERIOD_S * uniform(0.8, 1.2)  # noqa: S311 - jitter
            heappush(self._times, (pull.begin_at, number))
        self._ask_more()

    def admission(self, number: int, payload: bytes) -> Refusal | None:
        """The answer to a handshake came; gives the refusal of a connection that is open already."""
        pull, answer = self._pulls.get(number), Admission.decode(payload)
        if pull is None:
            return None
        if pull.admission.done():
            return answer.refusal
        pull.admission.set_result(answer.refusal)
        return None

    def unsynced(self, number: int, payload: bytes) -> None:
        """A worker could not answer now: ask again a little later."""
        pull = self._pulls.get(number)
        if pull is not None and pull.asked and payload == str(pull.number).encode():
            self._answered(pull)
            pull.due = self._clock() + RETRY_S
            heappush(self._times, (pull.due, number))
            self._ask_more()

    async def run(self) -> None:
        """Ask again what was not answered, and begin what is due, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.look()

    def look(self) -> None:
        """Take one look at what is due."""
        now = self._clock()
        while self._times and self._times[0][0] <= now:
            pull = self._pulls.get(heappop(self._times)[1])
            if pull is None:
                continue
            if pull.due and pull.due <= now:
                self._answered(pull)
                self._enqueue(pull)
            elif not pull.due and not pull.queued and 0 < pull.begin_at <= now:
                # One whose sync is under way is looked at when that has ended.
                pull.begin_at = 0.0
                self._begin(pull)
        self._ask_more()

    def _begin(self, pull: Pull) -> None:
        self._metrics.syncs.counts[pull.cause] += 1
        pull.cause = "periodic"
        pull.began = self._clock()
        pull.since, pull.position = pull.token, ""
        self._enqueue(pull)
        self._ask_more()

    def _next(self, pull: Pull) -> None:
        pull.queued = False
        if pull.connection.number in self._pulls:
            self._enqueue(pull)
            self._ask_more()

    def _enqueue(self, pull: Pull) -> None:
        pull.number += 1
        pull.asked = False
        pull.due = self._clock() + WAITS_S
        (self._waiting if pull.admission.done() else self._admitting).append(pull)

    def _answered(self, pull: Pull) -> None:
        self._asked.discard(pull.connection.number)
        pull.asked = False

    def _next_waiting(self) -> Pull | None:
        """Take turns: a handshake does not wait behind the syncs of all who are here, nor those behind a storm."""
        self._queues.reverse()
        queue = self._queues[0] or self._queues[1]
        return queue.popleft() if queue else None

    def _ask_more(self) -> None:
        while len(self._asked) < MAX_IN_FLIGHT and (pull := self._next_waiting()) is not None:
            connection = pull.connection
            if connection.number not in self._pulls or pull.asked:
                continue
            pull.asked = True
            pull.due = self._clock() + ANSWER_S
            heappush(self._times, (pull.due, connection.number))
            self._asked.add(connection.number)
            self._ask(
                SyncRequest(
                    gateway=GatewayId(self._gateway),
                    connection=ConnectionNumber(connection.number),
                    user=UserId(connection.user),
                    device=DeviceId(connection.device),
                    number=pull.number,
                    admit=not pull.admission.done(),
                    since=pull.since,
                    position=pull.position,
                    entered_ms=connection.entered_ms,
                )
            )


def refusal_of(refusal: Refusal) -> HandshakeRefused:
    """Say to a client why a worker refused it."""
    words = {Refusal.REVOKED: "the user or device is revoked", Refusal.TOO_MANY_DEVICES: "too many devices"}
    return HandshakeRefused(refusal, words.get(refusal, refusal.value))
