"""Owns the one timer of all connections: pings, silence, age, expiry, heartbeats.

The connections go round in shares, one a tick, so that the work is spread evenly and none of it is a burst.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import Final

from chatcore.errors import Close
from chatcore.ids import UserId
from chatcore.stream import Heartbeats

from gateway.connection import Connection
from gateway.leaving import greatest_age_s
from gateway.outbox import Outbox
from gateway.registry import SHARES, Registry
from gateway.session import LEEWAY_S
from gateway.subscriptions import Subscriptions

ROUND_S: Final = 10.0
"""Seconds in which each connection is looked at once, and a silent one is pinged: a pong lost on the way, and the next
is still in time for the TTL."""
ROUNDS_PER_TTL: Final = 3
"""The same, for a TTL that is shorter than the default."""
BEAT_AFTER: Final = SHARES // 5
"""Shares, so 2 s, after which one that was looked at beats: by then its pongs have come."""
TELL_AFTER: Final = 20
"""Shares, so 1 s, whose beats are told together."""
EXPIRING: Final = 10
"""Shares looked through for expired tokens at each tick: all of them once a second."""
SILENCE_S: Final = 60.0
"""Seconds without a frame or a pong after which a connection is aborted."""
LATE_S: Final = 1.0
"""Seconds by which a tick may be late and is still made up for; past them the round is longer, and no burst follows."""
PAUSE_S: Final = 5.0
"""Seconds by which a tick is late when the process stood still: silence counts anew from then on, since what the
clients sent meanwhile was not read yet."""
AGED: Final = 5
"""Connections sent elsewhere at each tick because of their age, so 100 a second, as a drain at its usual pace."""
SLACK_S: Final = 2.0
"""Seconds for a heartbeat to be told and read."""
PACKED: Final = 500
"""Members in one event of heartbeats."""


def round_s(ttl_s: float) -> float:
    """Give the seconds of a round."""
    return min(ROUND_S, ttl_s / ROUNDS_PER_TTL)


def absent_s(ttl_s: float) -> float:
    """Give the seconds of silence after which the next heartbeat may come too late for the connection's member."""
    return ttl_s - round_s(ttl_s) - SLACK_S


class Sweeper:
    """Looks after the connections, a share at each tick."""

    def __init__(
        self,
        *,
        registry: Registry,
        outbox: Outbox,
        subscriptions: Subscriptions,
        ttl_s: float,
        cap_s: float,
        aged: Callable[[Connection], None],
        lapsed: Callable[[Connection], None],
    ) -> None:
        self._registry, self._outbox, self._subscriptions = registry, outbox, subscriptions
        self._cap_s, self._aged, self._lapsed = cap_s, aged, lapsed
        self._ttl_s, self._round_s = ttl_s, round_s(ttl_s)
        self._at = self._rounds = 0
        self._beating: list[Connection] = []
        self._resumed_at = float("-inf")

    async def run(self) -> None:
        """Sweep until cancelled."""
        due = monotonic()
        while True:
            due += self._round_s / SHARES
            await asyncio.sleep(max(0.0, due - monotonic()))
            now = monotonic()
            if now - due > LATE_S:
                self.late(now - due, now=now)
                due = now
            self.sweep(now=now, wall_s=time())

    def late(self, late_s: float, *, now: float) -> None:
        """Note that the loop did not turn in time."""
        if late_s > PAUSE_S:
            self._resumed_at = now

    def sweep(self, *, now: float, wall_s: float) -> None:
        """Look at the next share."""
        at, shares = self._at, self._registry.shares
        self._look_after(shares[at].values(), now)
        if self._cap_s:
            self._send_off(shares[at].values(), now)
        self._beating += [c for c in shares[at - BEAT_AFTER].values() if c.member]
        first = at * EXPIRING % SHARES
        for share in shares[first : first + EXPIRING]:
            self._expire(share.values(), wall_s)
        self._subscriptions.step()
        self._at = (at + 1) % SHARES
        if self._at % TELL_AFTER == 0:
            beating, self._beating = self._beating, []
            self._vouch(beating, now)
            for beats in heartbeats(beating, now=now, ttl_s=self._ttl_s):
                self._outbox.tell(beats)
        if not self._at:
            self._rounds += 1

    def _look_after(self, connections: Iterable[Connection], now: float) -> None:
        silent_since, pinging = now - self._round_s / 2, self._rounds % 2 == 1
        gone = now - SILENCE_S if now - self._resumed_at > SILENCE_S else float("-inf")
        for connection in connections:
            if connection.heard_at < gone:
                connection.abort()
            elif pinging or connection.heard_at < silent_since:
                # One that only sends has to hear something from time to time, too.
                connection.ping()

    def _vouch(self, connections: Iterable[Connection], now: float) -> None:
        """Name those whose last beat may have lapsed before this one is read, though they were heard all the time.

        A beat extends what exists and creates nothing. It comes so late only after this process stood still, more than
        once; who was not heard for as long is named when it is heard.
        """
        for connection in connections:
            heard = now - connection.heard_at <= absent_s(self._ttl_s)
            if heard and now - connection.vouched_at > self._ttl_s - SLACK_S:
                self._lapsed(connection)
            connection.vouched_at = connection.heard_at

    def _send_off(self, connections: Iterable[Connection], now: float) -> None:
        """Send off those past their age. Who finds no room in this tick is looked at again a round later."""
        aged = [c for c in connections if not c.leaving and now - c.began > greatest_age_s(c.number, self._cap_s)]
        for connection in aged[:AGED]:
            self._aged(connection)

    def _expire(self, connections: Iterable[Connection], wall_s: float) -> None:
        until_s = wall_s - LEEWAY_S
        for connection in connections:
            if connection.session.expires_at_s < until_s:
                connection.close(Close.TOKEN_EXPIRED, "the token has expired")


def heartbeats(connections: Iterable[Connection], *, now: float, ttl_s: float) -> list[Heartbeats]:
    """Make the heartbeats of connections, by whole seconds since each was heard: a device's time runs from then.

    One that was silent for the TTL has no beat: it could extend nothing.
    """
    by_silence: dict[int, list[tuple[UserId, str]]] = {}
    for connection in connections:
        silent_s = max(0, int(now - connection.heard_at))
        if silent_s < ttl_s:
            by_silence.setdefault(silent_s, []).append((UserId(connection.user), connection.member))
    return [
        Heartbeats(members[at : at + PACKED], silent_s * 1000)
        for silent_s, members in by_silence.items()
        for at in range(0, len(members), PACKED)
    ]
