"""Owns what a device writes on one connection, and when: due sends, acknowledgements, requests, single frames.

It records what it says before the socket sees it. It must never read from the connection.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from chatctl.verify import history as h
from chatctl.verify.connection import ConnectionClosed, RawConnection
from chatctl.verify.device_inbox import Inbox
from chatctl.verify.device_state import ACK_GAP_S, ANSWER_S, HOLE_S, DeviceState, Peer
from chatctl.verify.history import Observation, Witness, digest

TICK_S: Final = 0.25
"""Seconds between looks at deadlines; what is due at once wakes the writer itself."""
SPOKEN_MAX: Final = 100
"""Single frames that wait for a connection; what comes then is not said: nobody is owed them."""

Spoken = tuple[dict[str, Any], tuple[Any, ...] | None]
"""A frame, and what the history learns of it: a kind of observation and its fields."""


class Writer:
    """The writing half of a device, over all its connections."""

    def __init__(self, *, state: DeviceState, inbox: Inbox, witness: Witness, window: int) -> None:
        self.wake = asyncio.Event()
        self.tick_s = TICK_S
        self._state = state
        self._inbox = inbox
        self._witness = witness
        self._window = window
        self._spoken: list[Spoken] = []
        self._watched: tuple[str, ...] = ()
        self._watch_due = 0.0
        self._last_ack_at = 0.0

    def say(self, frame: dict[str, Any], kind: Callable[..., Observation] | None = None, *fields: object) -> None:
        """Write one frame on this connection, after its `welcome`; recorded as an observation of that kind."""
        if len(self._spoken) < SPOKEN_MAX:
            self._spoken.append((frame, None if kind is None else (kind, *fields)))
        self.wake.set()

    def watch(self, users: tuple[str, ...]) -> None:
        """Subscribe to their presence, now and on every connection to come."""
        self._watched = users
        self._watch_due = 0.0
        self.wake.set()

    def begin_connection(self) -> None:
        """Nothing that was said before is known to have arrived."""
        self._spoken.clear()
        self._watch_due = 0.0
        self._inbox.presence.clear()

    async def run(self, connection: RawConnection) -> None:
        """Write whatever gets due until the connection ends."""
        with suppress(ConnectionClosed, TimeoutError):
            while True:
                self.wake.clear()
                if self._inbox.welcomed:
                    await self._write_due(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self.wake.wait()

    def _pause(self) -> float:
        now = asyncio.get_running_loop().time()
        dues = [peer.due_at for peer in self._state.peers.values() if peer.due_at is not None]
        return min([self.tick_s, *(max(due - now, ACK_GAP_S / 5) for due in dues)])

    async def _write_due(self, connection: RawConnection) -> None:
        now = asyncio.get_running_loop().time()
        for client_id in self._state.due_sends(now, self._window):
            out = self._state.outbox.get(client_id)
            if out is None:
                continue
            self._state.mark_transmitted(client_id, now)
            self._witness.saw(h.Sending, out.peer, client_id, digest(out.body))
            await connection.send({"type": "send", "id": client_id, "to": out.peer, "body": out.body})
        await self._write_acks(connection, now)
        await self._write_watch(connection, now)
        while self._spoken:
            frame, observed = self._spoken.pop(0)
            if observed is not None:
                self._witness.saw(*observed)
            await connection.send(frame)
        if self._inbox.synced:
            await self._close_holes(connection, now)

    async def _write_acks(self, connection: RawConnection, now: float) -> None:
        for name, peer in list(self._state.peers.items()):
            if peer.due_at is None or peer.due_at > now or (peer.due_at > 0 and now - self._last_ack_at < ACK_GAP_S):
                continue
            peer.due_at = None
            if peer.owes_ack():
                await self._write_ack(connection, name, peer)
                self._last_ack_at = now

    async def _write_ack(self, connection: RawConnection, name: str, peer: Peer) -> None:
        reads = min(peer.own_read, peer.cursor)
        delivers, says_read = peer.cursor > max(peer.acked[0], reads), reads > peer.acked[1]
        peer.acked = (peer.cursor, reads)
        cursor = peer.cursor
        if says_read and reads > peer.confirmed_read:
            self._witness.saw(h.Acked, name, reads, read=True)
            await connection.send({"type": "read_ack", "peer": name, "seq": reads})
        if delivers:
            self._witness.saw(h.Acked, name, cursor, read=False)
            await connection.send({"type": "delivery_ack", "peer": name, "seq": cursor})

    async def _write_watch(self, connection: RawConnection, now: float) -> None:
        untold = [user for user in self._watched if user not in self._inbox.presence]
        if not untold or now < self._watch_due:
            return
        self._watch_due = now + ANSWER_S
        self._witness.saw(h.Watching, self._watched)
        await connection.send({"type": "presence_subscribe", "users": untold})

    async def _close_holes(self, connection: RawConnection, now: float) -> None:
        for name, peer in list(self._state.peers.items()):
            if not peer.ahead:
                peer.hole_since = None
                continue
            peer.hole_since = now if peer.hole_since is None else peer.hole_since
            waited = now - peer.hole_since >= HOLE_S
            if waited and (peer.asked_at is None or now - peer.asked_at >= ANSWER_S):
                peer.asked_at = now
                ask = {"type": "history", "ref": f"hole-{peer.cursor}", "peer": name, "after": peer.cursor}
                await connection.send(ask)
