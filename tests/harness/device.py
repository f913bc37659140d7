"""Owns `BareDevice`, which does on the bare protocol everything that PROTOCOL section 6 asks of a client.

It connects to any gateway, stays connected until it is stopped, records all that it says and sees in a `History`,
and must never use the project's own client library.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from tests.harness.client import EXPECT_TIMEOUT_S, ConnectionClosed, RawConnection, Refused
from tests.harness.device_inbox import Inbox
from tests.harness.device_state import ACK_GAP_S, ANSWER_S, HOLE_S, DeviceState, Outgoing
from tests.harness.history import Acked, DeviceEnd, History, Sending
from tests.harness.protocol import Frame

SILENCE_S: Final = 60.0
TICK_S: Final = 0.25
"""Seconds between looks at deadlines; what is due at once wakes the writer itself."""
FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 30.0
FATAL_CLOSES: Final = frozenset({1007, 1008, 1009, 4401, 4403})


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
    ) -> None:
        self.user = user
        self.device = device
        self.history = History() if history is None else history
        self.state = DeviceState()
        self.inbox = Inbox(user=user, device=device, state=self.state, history=self.history, reads=reads)
        self.connections = 0
        self.closes: list[int] = []
        self._gateways = gateways
        self._token = token
        self._window = window
        self._last_backoff_s = last_backoff_s
        self._random = random.Random(f"{user}/{device}")
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._last_ack_at = 0.0
        self._leave_at: float | None = None
        self._preferred: str | None = None

    def prefer(self, base: str) -> None:
        """Connect to this gateway first, the next time."""
        self._preferred = base

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._task = asyncio.create_task(self._run(), name=f"device {self.user}/{self.device}")

    async def stop(self) -> None:
        """Disconnect; raises what ended the device, if something did."""
        task, self._task = self._task, None
        self.inbox.begin_connection()
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def send(self, peer: str, client_id: str, body: str) -> None:
        """Put a message into the outbox: it goes out as soon as the protocol allows, until it is answered."""
        self.state.outbox[client_id] = Outgoing(peer=peer, body=body)
        self._wake.set()

    def read(self, peer: str, seq: int) -> None:
        """The user has read up to `seq`."""
        known = self.state.peer(peer)
        known.own_read = max(known.own_read, seq)
        known.due_at = 0.0
        self._wake.set()

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

    def end(self) -> DeviceEnd:
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
        )

    async def _run(self) -> None:
        failures = 0
        avoid = ""
        while True:
            base = self._pick(avoid)
            avoid = ""
            try:
                connection = await RawConnection.open(base, self._token(), self.device, since=self.state.since)
            except (OSError, Refused, TimeoutError, ConnectionClosed) as error:
                if isinstance(error, Refused) and error.status in (400, 401, 403):
                    raise
                failures = await self._back_off(failures)
                continue
            if await self._live(connection):
                avoid = base
            failures = 0 if self.inbox.synced else failures
            failures = await self._back_off(failures)

    def _pick(self, avoid: str) -> str:
        preferred, self._preferred = self._preferred, None
        if preferred is not None:
            return preferred
        gateways = list(self._gateways())
        others = [base for base in gateways if base != avoid]
        return self._random.choice(others or gateways)

    async def _back_off(self, failures: int) -> int:
        await asyncio.sleep(self._random.uniform(0, min(self._last_backoff_s, FIRST_BACKOFF_S * 2**failures)))
        return min(failures + 1, 10)

    async def _live(self, connection: RawConnection) -> bool:
        """Serve one connection until it ends; says whether the gateway had asked to leave."""
        self.connections += 1
        self._leave_at = None
        self.state.forget_connection()
        self.inbox.begin_connection()
        writer = asyncio.create_task(self._write(connection), name=f"writer {self.user}/{self.device}")
        try:
            await self._read_frames(connection)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await asyncio.shield(connection.close())
        return self._leave_at is not None

    async def _read_frames(self, connection: RawConnection) -> None:
        now = asyncio.get_running_loop().time
        try:
            while True:
                frame = await self._next(connection)
                if frame["type"] == "goaway":
                    self._leave_at = now() + frame["reconnect_after_ms"] / 1000
                self.inbox.take(frame, now())
                self._wake.set()
                async with self._changed:
                    self._changed.notify_all()
        except TimeoutError:
            self.closes.append(0)
        except ConnectionClosed as closed:
            self.closes.append(closed.code)
            if closed.code in FATAL_CLOSES:
                raise

    async def _next(self, connection: RawConnection) -> Frame:
        if self._leave_at is None:
            return await connection.receive(timeout_s=SILENCE_S, pings_count=True)
        left = self._leave_at - asyncio.get_running_loop().time()
        return await connection.receive(timeout_s=max(left, 0.001))

    async def _write(self, connection: RawConnection) -> None:
        with suppress(ConnectionClosed, TimeoutError):
            while True:
                self._wake.clear()
                if self.inbox.welcomed:
                    await self._write_due(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._wake.wait()

    def _pause(self) -> float:
        now = asyncio.get_running_loop().time()
        dues = [peer.due_at for peer in self.state.peers.values() if peer.due_at is not None]
        return min([TICK_S, *(max(due - now, ACK_GAP_S / 5) for due in dues)])

    async def _write_due(self, connection: RawConnection) -> None:
        now = asyncio.get_running_loop().time()
        for client_id in self.state.due_sends(now, self._window):
            out = self.state.outbox.get(client_id)
            if out is None:
                continue
            self.state.mark_transmitted(client_id, now)
            self.history.add(Sending(self.user, self.device, self.connections, out.peer, client_id, out.body))
            await connection.send({"type": "send", "id": client_id, "to": out.peer, "body": out.body})
        await self._write_acks(connection, now)
        if self.inbox.synced:
            await self._close_holes(connection, now)

    async def _write_acks(self, connection: RawConnection, now: float) -> None:
        for name, peer in list(self.state.peers.items()):
            if peer.due_at is None or peer.due_at > now or (peer.due_at > 0 and now - self._last_ack_at < ACK_GAP_S):
                continue
            peer.due_at = None
            if not peer.owes_ack():
                continue
            reads = min(peer.own_read, peer.cursor)
            delivers, says_read = peer.cursor > max(peer.acked[0], reads), reads > peer.acked[1]
            peer.acked = (peer.cursor, reads)
            if says_read and reads > peer.confirmed_read:
                self.history.add(Acked(self.user, self.device, name, reads, read=True))
                await connection.send({"type": "read_ack", "peer": name, "seq": reads})
            if delivers:
                self.history.add(Acked(self.user, self.device, name, peer.cursor, read=False))
                await connection.send({"type": "delivery_ack", "peer": name, "seq": peer.cursor})
            self._last_ack_at = now

    async def _close_holes(self, connection: RawConnection, now: float) -> None:
        for name, peer in list(self.state.peers.items()):
            if not peer.ahead:
                peer.hole_since = None
                continue
            peer.hole_since = now if peer.hole_since is None else peer.hole_since
            waited = now - peer.hole_since >= HOLE_S
            if waited and (peer.asked_at is None or now - peer.asked_at >= ANSWER_S):
                peer.asked_at = now
                ask = {"type": "history", "ref": f"hole-{peer.cursor}", "peer": name, "after": peer.cursor}
                await connection.send(ask)
