"""Owns the one timer of all connections: pings, silence, expiry, heartbeats, and repeated subscriptions.

Each second looks after a share of the connections, so that the work is spread over their periods.
"""

import asyncio
from time import monotonic, time
from typing import Final

from chatcore.errors import Close
from chatcore.ids import UserId
from chatcore.stream import Heartbeats

from gateway.forwarding import Forwarder
from gateway.outbox import Outbox
from gateway.registry import Registry

PING_S: Final = 25
SILENCE_S: Final = 60.0
"""Seconds without a frame or a pong after which a connection is aborted."""
BEAT_S: Final = 10
ANNOUNCE_S: Final = 60
PACKED: Final = 500
"""Members in one entry of heartbeats."""


class Sweeper:
    """Looks after the connections every second."""

    def __init__(self, *, registry: Registry, outbox: Outbox, forwarder: Forwarder) -> None:
        self._registry, self._outbox, self._forwarder = registry, outbox, forwarder
        self._second = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self.sweep(now=monotonic(), wall_s=time())

    def sweep(self, *, now: float, wall_s: float) -> None:
        """Look once."""
        self._second += 1
        second = self._second
        members: list[tuple[UserId, str]] = []
        for connection in list(self._registry.by_number.values()):
            number = connection.number
            if connection.session.expired(wall_s):
                connection.close(Close.TOKEN_EXPIRED, "the token has expired")
            elif now - connection.heard_at > SILENCE_S:
                connection.abort()
            elif (number + second) % PING_S == 0:
                connection.ping()
            if connection.member and (number + second) % BEAT_S == 0:
                members.append((UserId(connection.user), connection.member))
        for at in range(0, len(members), PACKED):
            self._outbox.tell(Heartbeats(members[at : at + PACKED]))
        self._announce(second)

    def _announce(self, second: int) -> None:
        due = [user for user in self._registry.watchers if (hash(user) + second) % ANNOUNCE_S == 0]
        if due:
            self._forwarder.announce(due)
