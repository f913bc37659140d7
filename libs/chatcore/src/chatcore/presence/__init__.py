"""The presence core: who is online at `now`, and what is told of it (R10, R11).

Pure, and the specification: presence does the same in one Redis script for each user, so that several replicas agree,
and a test runs both side by side. It must never create a device, nor take one for gone that beats.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

RESUME_MS: Final = 12_000
"""After a gap in the sweeping, every gateway that lives has beaten once more within this: a beat comes every 10 s."""
GAP_MS: Final = 5_000
"""Nobody swept for so long: who was there meanwhile is not known, and nobody may be taken for gone yet."""

Devices = Mapping[str, int]
"""Deadlines, in ms of Redis's clock, by member."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last told of a user. `last_seen` is None while online and for one never seen."""

    online: bool = False
    last_seen: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a user found."""

    devices: Devices
    seen: Seen
    changed: bool
    """A transition, to be told to every gateway with a subscriber."""
    next_ms: int | None
    """When to look again, if nothing happens before; None when there is no device."""


def extend(devices: Devices, beating: Iterable[str], now: int, ttl_ms: int) -> Devices:
    """Move the deadlines of those that beat and are there, never back; create nothing."""
    beats = set(beating)
    return {m: max(deadline, now + ttl_ms) if m in beats else deadline for m, deadline in devices.items()}


def look(devices: Devices, seen: Seen, now: int, ttl_ms: int, *, sweep: bool) -> Look:
    """Remove what expired, where sweeping is allowed, and compare with what was told.

    A user is online while any device is there. One that expired was last seen when it beat last, `ttl_ms` before its
    deadline; one whose gateway removed it, now.
    """
    gone = [deadline for deadline in devices.values() if sweep and deadline <= now]
    left = {m: deadline for m, deadline in devices.items() if not (sweep and deadline <= now)}
    online = bool(left)
    changed = online != seen.online
    if changed:
        seen = Seen(online=online, last_seen=None if online else max(gone) - ttl_ms if gone else now)
    return Look(left, seen, changed, min(left.values()) if left else None)


@dataclass(frozen=True, slots=True)
class Sweeping:
    """Whether the sweeping may go on, seen over all replicas."""

    resume_ms: int | None = None
    """When it may be resumed, after a gap."""

    def tick(self, now: int, swept_ms: int | None, *, behind: bool) -> "tuple[Sweeping, bool]":
        """Take one tick; gives whether to sweep.

        `swept_ms` is when anybody swept last; `behind`: heartbeats wait unread.
        """
        if behind:
            return Sweeping(now + RESUME_MS), False
        if self.resume_ms is None:
            if swept_ms is not None and now - swept_ms < GAP_MS:
                return self, True
            return Sweeping(now + RESUME_MS), False
        if now < self.resume_ms and not (swept_ms is not None and now - swept_ms < GAP_MS):
            return self, False
        return Sweeping(), True
