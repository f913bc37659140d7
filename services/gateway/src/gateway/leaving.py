"""Owns the times of a way out: how the seconds after SIGTERM are shared out, and when which client goes. Pure."""

from enum import StrEnum
from typing import Final

GRACE_S: Final = 2.0
"""Seconds that a connection works on after the time at which its client was asked to come back elsewhere."""
END_S: Final = 1.5
"""Seconds for the last Close frames to be answered, and to abort those who do not."""
RESERVE_S: Final = 2.5
"""Seconds kept after the connections: to flush what they left, and to close the listener and the ways to Redis."""
PER_S: Final = 100
"""Clients sent away a second: what the other gateways and the workers take as handshakes without strain."""
AGE_JITTER: Final = 0.2
"""Of the greatest age: connections that came together, after an outage say, leave spread over this part of it."""
GOLDEN: Final = 0.618_033_988_749_895
"""Multiples of it, taken modulo 1, fall evenly between 0 and 1 however many there are (Weyl's sequence)."""


class Reason(StrEnum):
    """Why a client is sent elsewhere, as `goaway` names it."""

    DRAINING = "draining"
    """This gateway ends."""
    UNREACHABLE = "unreachable"
    """It has had no way through Redis for long."""
    RESTORED = "restored"
    """The database has another epoch, which the next `welcome` names."""
    REBALANCING = "rebalancing"
    """The connection reached its greatest age."""


def drain_s(shutdown_s: float, prestop_s: float) -> float:
    """Give the seconds for the connections: all but the wait before and the reserve after."""
    return shutdown_s - prestop_s - RESERVE_S


def shortest_shutdown_s(prestop_s: float) -> float:
    """Give the least seconds from SIGTERM to the end in which a client is told, served on and closed in order."""
    return prestop_s + GRACE_S + END_S + RESERVE_S


def times(count: int, within_s: float) -> list[float]:
    """Give when each of `count` clients is to leave, ascending and evenly spread, so that all are closed in time.

    No second sees more of them than another, which a draw by lot could not say.
    """
    spread_s = max(0.0, min(within_s - GRACE_S, count / PER_S))
    return [spread_s * place / count for place in range(count)]


def greatest_age_s(number: int, cap_s: float) -> float:
    """Give a connection's own cap in seconds: below the cap for all by a part that its number alone decides."""
    return cap_s * (1.0 - AGE_JITTER * (number * GOLDEN % 1.0))
