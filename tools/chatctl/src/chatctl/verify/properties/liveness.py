"""Owns the properties of progress once the faults have ended (G5, G8, G11).

Pure: each function yields the violations that it finds in a case. A property of time asks nothing of a run that never
got calm, except that it must get calm (`everything_is_ready_again`).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from chatctl.verify import history as h
from chatctl.verify.case import FOR_EVER, Case, Link, other_of
from chatctl.verify.history import Acked, Pair, pair_of
from chatctl.verify.properties.violation import Found, Violation

UNREAD_S: Final = 5.0
"""Seconds before a connection's end in which a gateway that is closing it may read no more."""
CONVERGE_S: Final = 15.0
"""G8: seconds until every connected device has every message and every receipt."""
OPERATION_S: Final = 10.0
"""Seconds until each kind of operation succeeds again."""
READY_S: Final = 60.0
"""Seconds until every service is ready again: a killed database needs most of it."""


def everything_is_ready_again(case: Case) -> Found:
    """Every service is ready again soon after the last fault ended."""
    history = case.history
    ended_s = max([history.begun_s, *(fault.at_s for fault in history.faults)])
    if history.faults and history.calm_s is None:
        yield Violation("not every service was ready again after the faults")
    elif history.calm_s is not None and history.faults and history.calm_s - ended_s > READY_S:
        yield Violation(f"every service was ready again only {history.calm_s - ended_s:.1f} s after the faults")


def operations_succeed_again(case: Case) -> Found:
    """Each kind of operation succeeds within 10 s once the faults have ended."""
    for probe in case.history.probes:
        if probe.took_s is None or probe.took_s > OPERATION_S:
            took = "never" if probe.took_s is None else f"after {probe.took_s:.1f} s"
            yield Violation(f"{probe.operation} succeeded {took}")


def messages_arrive_in_time(case: Case) -> Found:
    """Every message is on every connected device within 15 s of its commit, the connection and the faults' end."""
    calm_s = case.history.calm_s
    if calm_s is None:
        return
    for pair, log in case.store.items():
        for link in _judged(case, pair, calm_s):
            peer = other_of(pair, link.user)
            start = case.starts.get((link.user, link.device, peer), 0)
            for entry in log[start:]:
                due_s = max(calm_s, case.known_s.get((pair, entry.seq), 0), link.up_s) + CONVERGE_S
                at_s = case.held_s.get((link.user, link.device, peer, entry.seq), FOR_EVER)
                if at_s > due_s and min(link.down_s, case.end_s) > due_s:
                    when = "never" if at_s == FOR_EVER else f"{at_s - due_s:.1f} s late"
                    yield Violation(f"{entry.seq} of {pair} came to {link.user}/{link.device} {when}")


def _judged(case: Case, users: Pair | tuple[str], calm_s: float) -> Iterator[Link]:
    """Give the connections that stood long enough after the faults, and whose client read all the time."""
    stalled = {item.link for item in case.of(h.Stalling)}
    for user in users:
        for link in case.links_of(user):
            if link.down_s > max(calm_s, link.up_s) + CONVERGE_S and link.number not in stalled:
                yield link


@dataclass(slots=True)
class _Rise:
    """When a mark first had at least each value."""

    values: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def note(self, value: int, at_s: float) -> None:
        if not self.values or value > self.values[-1]:
            self.values.append(value)
            self.times_s.append(at_s)

    def reached_s(self, value: int) -> float:
        place = bisect_left(self.values, value)
        return self.times_s[place] if place < len(self.values) else FOR_EVER


def receipts_arrive_in_time(case: Case) -> Found:
    """Every acknowledgement is on every connected device of the peer within 15 s, as far as it covers the peer's."""
    calm_s = case.history.calm_s
    if calm_s is None:
        return
    told: dict[tuple[str, str, str, bool], _Rise] = defaultdict(_Rise)
    for claim in case.of(h.Claimed):
        told[claim.user, claim.device, claim.of, False].note(claim.delivered, claim.at_s)
        told[claim.user, claim.device, claim.of, True].note(claim.read, claim.at_s)
    for user, peer, ack in _owed(case, calm_s):
        for link in _judged(case, (peer,), calm_s):
            due_s = max(calm_s, ack.at_s, link.up_s) + CONVERGE_S
            at_s = told[peer, link.device, user, ack.read].reached_s(ack.seq)
            if at_s > due_s and min(link.down_s, case.end_s) > due_s:
                mark = "read" if ack.read else "delivered"
                when = "never" if at_s == FOR_EVER else f"{at_s - due_s:.1f} s late"
                yield Violation(f"that {user} has {mark} {ack.seq} was told to {peer}/{link.device} {when}", (ack,))


def _owed(case: Case, calm_s: float) -> Iterator[tuple[str, str, Acked]]:
    """Give each acknowledgement that raised a mark over a message of the peer's, as high as those reach.

    Of all that were said before the faults ended, the highest stands for the rest. What was said on a connection that
    ended at once may never have been read; said again on the next one, it counts.
    """
    before: dict[tuple[str, str, bool], Acked] = {}
    after: list[tuple[str, str, Acked]] = []
    top: dict[tuple[str, str, bool], int] = defaultdict(int)
    for ack in case.of(Acked):
        if ack.link in case.links and ack.at_s <= case.links[ack.link].down_s < ack.at_s + UNREAD_S:
            continue
        log = case.store.get(pair_of(ack.user, ack.peer), ())
        own = [entry.seq for entry in log[: ack.seq] if entry.sender == ack.peer][-1:]
        for read in (False, True) if ack.read else (False,):
            mark = (ack.user, ack.peer, read)
            if not own or own[0] <= top[mark]:
                continue
            top[mark] = own[0]
            owed = Acked(ack.at_s, ack.user, ack.device, ack.link, ack.peer, own[0], read)
            if ack.at_s < calm_s:
                before[mark] = owed
            else:
                after.append((ack.user, ack.peer, owed))
    yield from ((user, peer, owed) for (user, peer, _), owed in before.items())
    yield from after


def late_devices_complete_after_one_sync(case: Case) -> Found:
    """A device that was away holds everything when its first sync is finished."""
    for device in case.final.devices:
        links = [link for link in case.links_of(device.user, device.device) if link.syncs_s]
        if not device.came_late or not links:
            continue
        synced_s, up_s = links[-1].syncs_s[0], links[-1].up_s
        for pair, log in case.store.items():
            if device.user not in pair:
                continue
            peer = other_of(pair, device.user)
            for entry in log[device.start.get(peer, 0) :]:
                known_s = case.known_s.get((pair, entry.seq), FOR_EVER)
                at_s = case.held_s.get((device.user, device.device, peer, entry.seq), FOR_EVER)
                if known_s < up_s and at_s > synced_s:
                    yield Violation(f"{device.user}/{device.device} finished its sync without {entry.seq} of {pair}")


def streams_run_empty(case: Case) -> Found:
    """Lag and pending are zero once everything is quiet."""
    for stream in case.final.streams or ():
        if stream.entries or stream.pending:
            yield Violation(f"{stream.name} holds {stream.entries} entries, {stream.pending} of them pending")
