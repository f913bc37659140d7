"""Owns the properties of watermarks and cursors: asserted by clients, rising, bounded (G6, G7).

Pure: each function yields the violations that it finds in a case.
"""

from collections import defaultdict

from chatctl.verify import history as h
from chatctl.verify.case import Case
from chatctl.verify.final_state import DeviceEnd, Log
from chatctl.verify.history import Synced, pair_of
from chatctl.verify.properties.violation import Found, Violation


def nothing_is_claimed_unsaid(case: Case) -> Found:
    """Every DELIVERED and READ seen anywhere was asserted before by a device of that user."""
    delivered: dict[tuple[str, str], int] = defaultdict(int)
    read: dict[tuple[str, str], int] = defaultdict(int)
    for item in case.history.observations:
        if isinstance(item, h.Acked):
            said = (item.user, item.peer)
            delivered[said] = max(delivered[said], item.seq)
            if item.read:
                read[said] = max(read[said], item.seq)
        elif isinstance(item, h.Claimed):
            said = (item.of, item.other)
            if item.delivered > delivered[said] or item.read > read[said]:
                told = f"delivered {item.delivered}, read {item.read} of {item.of} with {item.other}"
                what = f"{item.user} was told {told}, who had said {delivered[said]}, {read[said]}"
                yield Violation(what, (item,))
    for member in case.final.members or ():
        said = (member.user, member.peer)
        if member.delivered > delivered[said] or member.read > read[said]:
            yield Violation(f"MySQL has {member}, who had said {delivered[said]}, {read[said]}")


def marks_never_fall(case: Case) -> Found:
    """A sync begun later never carries an older mark than one before it, and MySQL keeps every mark that was told."""
    newest: dict[tuple[str, str, str], Synced] = {}
    for item in case.of(Synced):
        before = newest.get((item.user, item.device, item.peer))
        if before is not None and any(now < then for now, then in zip(_marks(item), _marks(before), strict=True)):
            yield Violation(f"a sync told {_marks(item)} after {_marks(before)} had been told", (before, item))
        newest[item.user, item.device, item.peer] = item
    if case.final.members is not None:
        yield from _kept(case)


def _marks(item: Synced) -> tuple[int, ...]:
    return (item.last, item.cursor, item.read, item.peer_delivered, item.peer_read)


def _kept(case: Case) -> Found:
    kept = {(member.user, member.peer): member for member in case.final.members or ()}
    for item in case.of(h.Claimed):
        member = kept.get((item.of, item.other))
        if (item.delivered, item.read) != (0, 0) and member is None:
            yield Violation(f"MySQL has no row of {item.of} with {item.other}, whose marks were told", (item,))
        elif member is not None and (item.delivered > member.delivered or item.read > member.read):
            yield Violation(f"delivered {item.delivered}, read {item.read} was told; MySQL has {member}", (item,))


def marks_are_in_order(case: Case) -> Found:
    """Read ≤ delivered ≤ last, wherever the marks of a user are told together; a cursor is never beyond the last."""
    for item in case.of(Synced):
        ordered = item.peer_read <= item.peer_delivered <= item.last
        if not ordered or item.cursor > item.last or item.read > item.last:
            yield Violation(f"a sync told last {item.last}, and marks {_marks(item)[1:]}", (item,))
    for member in case.final.members or ():
        own = member.read <= member.delivered <= member.last
        if not own or not member.peer_read <= member.peer_delivered <= member.last:
            yield Violation(f"MySQL has {member}")
    yield from _claims_in_order(case)


def _claims_in_order(case: Case) -> Found:
    """Look at every single claim.

    What a user is told of the user's own marks is passed over in part: a sync gives the cursor of that device, and the
    user may have read further on another.
    """
    ends = {pair: len(log) for pair, log in case.store.items()}
    for claimed in case.of(h.Claimed):
        told = f"delivered {claimed.delivered}, read {claimed.read} was told"
        pair = pair_of(claimed.of, claimed.other)
        if claimed.of != claimed.user and claimed.read > claimed.delivered:
            yield Violation(f"{told} of {claimed.of}", (claimed,))
        if pair in ends and max(claimed.delivered, claimed.read) > ends[pair]:
            yield Violation(f"{told} of {ends[pair]} messages", (claimed,))


def a_refused_ack_changes_nothing(case: Case) -> Found:
    """An acknowledgement beyond the last number moved no mark."""
    beyond: dict[tuple[str, str], h.Overreached] = {}
    for item in case.of(h.Overreached):
        lowest = beyond.setdefault((item.user, item.peer), item)
        beyond[item.user, item.peer] = min(lowest, item, key=lambda one: one.seq)
    for claimed in case.of(h.Claimed):
        over = beyond.get((claimed.of, claimed.other))
        if over is not None and max(claimed.delivered, claimed.read) >= over.seq:
            yield Violation(f"{over.user} acknowledged {over.seq}, beyond all, and it was told", (over, claimed))
    for member in case.final.members or ():
        over = beyond.get((member.user, member.peer))
        if over is not None and max(member.delivered, member.read) >= over.seq:
            yield Violation(f"{over.user} acknowledged {over.seq}, beyond all, and MySQL has {member}", (over,))


def receipts_converge(case: Case) -> Found:
    """In the end every device knows its peer's marks, as far as they cover a message of its own user."""
    delivered: dict[tuple[str, str], int] = defaultdict(int)
    read: dict[tuple[str, str], int] = defaultdict(int)
    for device in case.final.devices:
        for peer in device.cursor:
            said = (device.user, peer)
            delivered[said] = max(delivered[said], device.cursor[peer])
            read[said] = max(read[said], device.own_read.get(peer, 0))
    for device in case.final.devices:
        for pair, log in case.final.logs.items():
            if device.user in pair:
                peer = pair[1] if device.user == pair[0] else pair[0]
                said = (peer, device.user)
                yield from _told(device, peer, log, delivered=delivered[said], read=read[said])


def _told(device: DeviceEnd, peer: str, log: Log, *, delivered: int, read: int) -> Found:
    own = [entry.seq for entry in log if entry.sender == device.user]
    for name, told, truth in (
        ("delivered", device.peer_delivered.get(peer, 0), delivered),
        ("read", device.peer_read.get(peer, 0), read),
    ):
        covered = max((seq for seq in own if seq <= truth), default=0)
        if told < covered:
            yield Violation(f"{device.user}/{device.device} was told {name} {told} of {peer}, the truth is {covered}")
