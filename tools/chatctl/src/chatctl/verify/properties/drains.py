"""Owns the property of gateways that are asked to stop: they tell every client why, and in time (G11).

Pure. Who cuts a gateway's connections, or ends it, takes its word: only such faults excuse it, and what nobody can name
excuses it too. Redis, MySQL and the other processes do not: a drain needs none of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chatctl.verify import history as h
from chatctl.verify.case import LAG_S, Case, Link
from chatctl.verify.history import Fault
from chatctl.verify.properties.violation import Found, Violation

DRAIN_S: Final = 15.0
"""Seconds that a gateway gets to send its clients away: the local stack's 10, and what a busy machine adds."""
CLOSE_S: Final = 1.0
"""Seconds by which the tool may be late itself, and still answers a close frame before the gateway cuts it off."""
SILENT_S: Final = 60.0
"""Seconds for which a client may take a connection that a fault has silenced for one that stands."""
CODES: Final = frozenset({1001, 1011, 1012, 4401, 4403, 4408, 4409})
"""Close codes that name their reason."""
UNTOLD: Final = 0
"""The code of a connection whose end nobody told its client, and of those of the library, which tells none."""
ASKING: Final = frozenset({"terminate", "rolling"})
"""Kinds of faults that ask their target to stop."""
WHOLE_ROLLING: Final = ("rolling", "all")
ELSEWHERE: Final = re.compile(r"(redis|mysql|(gateway|worker|presence)-[0-9]+)(:[a-z]+)?")
"""Targets of faults that are one process, or one of its lines."""
HEARD: Final = (h.Sent, h.Refusal, h.Seen, h.Claimed, h.SyncDone, h.PresenceTold, h.GoneAway)
"""Observations that a frame of the gateway's made."""


@dataclass(frozen=True, slots=True)
class _Drain:
    """A gateway was asked to stop, by itself or in its turn of a rolling restart."""

    gateway: str
    fault: Fault
    asked_s: float

    @property
    def until_s(self) -> float:
        """When the last connection that stood then must have ended."""
        return self.asked_s + DRAIN_S

    def concerns(self, link: Link) -> bool:
        """Whether a connection was at that gateway, and began before it was asked."""
        return _name_of(link) == self.gateway and link.up_s < self.asked_s


def a_drained_gateway_names_its_reason(case: Case) -> Found:
    """A gateway that is asked to stop ends every connection, in time and with a close code."""
    stalled = {item.link for item in case.of(h.Stalling)}
    heard_s = _heard_s(case)
    for drain in _drains(case):
        late_s = max((by_s for at_s, by_s in case.history.lags if drain.asked_s <= at_s <= drain.until_s), default=0.0)
        if late_s >= CLOSE_S:
            continue
        for link in filter(drain.concerns, case.links.values()):
            if link.number in stalled or _excused(case, drain, link):
                continue
            who = f"{drain.gateway} drained and"
            if drain.asked_s <= link.down_s <= drain.until_s:
                if not link.ours and link.code not in CODES | {UNTOLD}:
                    yield Violation(f"{who} ended {link.user}/{link.device} with {link.code}")
            elif late_s < LAG_S and heard_s.get(link.number, 0.0) > drain.until_s:
                yield Violation(f"{who} still had {link.user}/{link.device} {DRAIN_S:.0f} s later")


def _drains(case: Case) -> Iterator[_Drain]:
    """Give what was asked of whom, and when."""
    gateways = {_name_of(link) for link in case.links.values()}
    for begun_s, _, fault in case.disturbances:
        if fault.begins and fault.kind in ASKING and fault.target in gateways:
            yield _Drain(fault.target, fault, begun_s)


def _name_of(link: Link) -> str:
    """Name a connection's gateway as faults do: `welcome` may tell its lives apart behind a dot."""
    return link.gateway.partition(".")[0]


def _heard_s(case: Case) -> dict[int, float]:
    """Say when each connection was last known to stand: a frame came, or its end, which somebody told."""
    last: dict[int, float] = {}
    for item in case.history.observations:
        told = isinstance(item, h.Closed) and (item.ours or item.code != UNTOLD)
        if told or isinstance(item, HEARD):
            last[item.link] = item.at_s
    return last


def _excused(case: Case, drain: _Drain, link: Link) -> bool:
    """Tell whether something else may have ended that connection, or silenced it."""
    since_s = max(link.up_s, drain.asked_s - SILENT_S)
    until_s = min(link.down_s, drain.until_s)
    return any(
        begun_s <= until_s and ended_s >= since_s and _touches(fault, drain.gateway)
        for begun_s, ended_s, fault in case.disturbances
        if fault.begins and fault is not drain.fault
    )


def _touches(fault: Fault, gateway: str) -> bool:
    """Tell whether a fault may have touched a gateway or its clients: all but those of other processes may.

    A rolling restart as a whole asks nothing: it notes each process as the target of a fault of its own.
    """
    if (fault.kind, fault.target) == WHOLE_ROLLING:
        return False
    return ELSEWHERE.fullmatch(fault.target) is None or fault.target.partition(":")[0] == gateway
