"""The presence core: who is online at `now`, what is told of it and to whom, and when to look again (R10, R11).

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
WATCH_MS: Final = 180_000
"""How long a gateway's subscription holds; gateways announce it again every 60 s, so two may get lost."""

Devices = Mapping[str, int]
"""Deadlines, in ms of Redis's clock, by member."""
Watch = Mapping[str, int]
"""Deadlines, in ms of Redis's clock, by gateway with a subscriber."""


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


def extend(devices: Devices, beating: Iterable[str], heard_ms: int, ttl_ms: int) -> Devices:
    """Move the deadlines of those that were heard at `heard_ms` and are there, never back; create nothing."""
    beats = set(beating)
    return {m: max(deadline, heard_ms + ttl_ms) if m in beats else deadline for m, deadline in devices.items()}


def look(devices: Devices, seen: Seen, now: int, ttl_ms: int, *, sweep_until: int) -> Look:
    """Remove what expired, until `sweep_until` (see `Sweeping`), and compare with what was told.

    A user is online while any device is there. One that expired was last seen when it beat last, `ttl_ms` before its
    deadline; one whose gateway removed it, now.
    """
    sweep = now <= sweep_until
    gone = [deadline for deadline in devices.values() if sweep and deadline <= now]
    left = {m: deadline for m, deadline in devices.items() if not (sweep and deadline <= now)}
    online = bool(left)
    changed = online != seen.online
    if changed:
        seen = Seen(online=online, last_seen=None if online else max(gone) - ttl_ms if gone else now)
    return Look(left, seen, changed, min(left.values()) if left else None)


def subscribe(watch: Watch, gateway: str, asked_ms: int) -> Watch:
    """Note that a gateway asked at `asked_ms` to be told. Replicas may take two of its words in either order."""
    return {**watch, gateway: max(watch.get(gateway, 0), asked_ms + WATCH_MS)}


def unsubscribe(watch: Watch, gateway: str, asked_ms: int) -> Watch:
    """Forget a gateway, unless it subscribed again after it asked for that at `asked_ms`, or in the same moment."""
    return {g: deadline for g, deadline in watch.items() if g != gateway or deadline >= asked_ms + WATCH_MS}


def watching(watch: Watch, now: int) -> Watch:
    """Say which gateways are told; the others went without a word."""
    return {gateway: deadline for gateway, deadline in watch.items() if deadline > now}


@dataclass(frozen=True, slots=True)
class Sweeping:
    """Whether the sweeping may go on, seen over all replicas."""

    resume_ms: int | None = None
    """When it may be resumed, after a gap."""
    doubted: bool = False
    """This replica saw that heartbeats may be missing: that another one sweeps proves nothing to it until then."""

    def tick(self, now: int, swept_ms: int | None, *, behind: bool) -> "tuple[Sweeping, int]":
        """Take one tick; gives until when a look may remove what expired, 0 for not at all.

        `swept_ms` is when anybody swept last; `behind`: heartbeats wait unread, or Redis takes none. The leave ends by
        itself: a replica that was stopped right after its tick must not remove, when it wakes up, whose beats it never
        read.
        """
        if behind:
            return Sweeping(now + RESUME_MS, doubted=True), 0
        fresh = not self.doubted and swept_ms is not None and now - swept_ms < GAP_MS
        if fresh or (self.resume_ms is not None and now >= self.resume_ms):
            return Sweeping(), now + GAP_MS
        return (self if self.resume_ms is not None else Sweeping(now + RESUME_MS)), 0
