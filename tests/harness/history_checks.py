"""Owns the judgement over a run: the promises G1-G8 of PROTOCOL as pure functions on what was recorded.

Each check returns the violations that it found, as sentences; none means that the promise was kept. Must never do
I/O, and must be able to fail: tests/harness/test_history_checks.py shows each of them a broken run.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from tests.harness.history import (
    Acked,
    Claimed,
    DeviceEnd,
    Entry,
    FinalState,
    History,
    Refusal,
    Seen,
    Sending,
    Sent,
    Synced,
    pair_of,
    sendings_by_id,
)

Check = Callable[[History, FinalState], Iterator[str]]


def stored_once(history: History, final: FinalState) -> Iterator[str]:
    """G2: every message sent stands in its log exactly once as it was sent, and nothing stands there unsent."""
    stored: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for (one, other), log in final.logs.items():
        for entry in log:
            stored[entry.sender, other if entry.sender == one else one, entry.id].append(entry)
    refused = {(r.user, r.peer, r.id) for r in history.observations if isinstance(r, Refusal) and r.final}
    sendings = sendings_by_id(history)
    for key, transmissions in sendings.items():
        entries = stored.get(key, [])
        if len(entries) != 1 and key not in refused:
            yield f"{key} is stored {len(entries)} times"
        if any(entry.body != transmissions[0].body for entry in entries):
            yield f"{key} is stored with another body"
    for key in stored.keys() - sendings.keys():
        yield f"{key} is stored and nobody sent it"


def numbered_densely(_history: History, final: FinalState) -> Iterator[str]:
    """G3: a log is numbered 1, 2, 3 … without holes."""
    for pair, log in final.logs.items():
        numbers = [entry.seq for entry in log]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the log of {pair} is numbered {numbers[:50]}"


def confirmed_as_stored(history: History, final: FinalState) -> Iterator[str]:
    """G1 and G2: what `sent` said, every time it was said, is what the log says."""
    logs = _by_seq(final)
    for item in history.observations:
        if isinstance(item, Sent):
            entry = logs.get((pair_of(item.user, item.peer), item.seq))
            if entry is None or (entry.sender, entry.id, entry.ts) != (item.user, item.id, item.ts):
                yield f"{item} but the log has {entry}"


def seen_as_stored(history: History, final: FinalState) -> Iterator[str]:
    """G3: every device saw under a number what the log has under it."""
    logs = _by_seq(final)
    for item in history.observations:
        if isinstance(item, Seen):
            entry = logs.get((pair_of(item.user, item.peer), item.seq))
            wanted = (item.sender, item.id, item.ts, item.body)
            if entry is None or (entry.sender, entry.id, entry.ts, entry.body) != wanted:
                yield f"{item} but the log has {entry}"


def sender_order(history: History, final: FinalState) -> Iterator[str]:
    """G4: on one connection, numbers follow the order of sending, those sent again or refused excepted."""
    seqs = {
        (entry.sender, pair[1] if entry.sender == pair[0] else pair[0], entry.id): entry.seq
        for pair, log in final.logs.items()
        for entry in log
    }
    sendings = sendings_by_id(history)
    refused = {(r.user, r.peer, r.id) for r in history.observations if isinstance(r, Refusal)}
    newest: dict[tuple[str, str, int, str], int] = {}
    for item in history.observations:
        if not isinstance(item, Sending):
            continue
        key = (item.user, item.peer, item.id)
        if len(sendings[key]) > 1 or key in refused or key not in seqs:
            continue
        lane = (item.user, item.device, item.connection, item.peer)
        if seqs[key] < newest.get(lane, 0):
            yield f"{item} has seq {seqs[key]} after one with {newest[lane]}"
        newest[lane] = max(newest.get(lane, 0), seqs[key])


def devices_complete(_history: History, final: FinalState) -> Iterator[str]:
    """G5 and G8: every device holds everything from where it started to the end of the log, and owes no send."""
    for device in final.devices:
        if device.unanswered:
            yield f"{device.user}/{device.device} has {len(device.unanswered)} sends without an answer"
        for pair, log in final.logs.items():
            if device.user in pair:
                yield from _incomplete(device, pair[1] if device.user == pair[0] else pair[0], log)


def _incomplete(device: DeviceEnd, peer: str, log: list[Entry]) -> Iterator[str]:
    start = device.start.get(peer, 0)
    held = device.held.get(peer, {})
    missing = [entry.seq for entry in log if entry.seq > start and held.get(entry.seq) != entry.id]
    if missing:
        yield f"{device.user}/{device.device} lacks {missing[:20]} of {len(log)} with {peer}"
    if device.cursor.get(peer, 0) != len(log):
        yield f"{device.user}/{device.device} has cursor {device.cursor.get(peer, 0)} of {len(log)} with {peer}"


def receipts_converged(_history: History, final: FinalState) -> Iterator[str]:
    """G8: every device knows its peer's marks, as far as they cover a message of its own."""
    delivered: dict[tuple[str, str], int] = defaultdict(int)
    read: dict[tuple[str, str], int] = defaultdict(int)
    for device in final.devices:
        for peer in device.cursor:
            key = (device.user, peer)
            delivered[key] = max(delivered[key], device.cursor[peer])
            read[key] = max(read[key], device.own_read.get(peer, 0))
    for device in final.devices:
        for pair, log in final.logs.items():
            if device.user not in pair:
                continue
            peer = pair[1] if device.user == pair[0] else pair[0]
            own = [entry.seq for entry in log if entry.sender == device.user]
            for name, told, truth in (
                ("delivered", device.peer_delivered.get(peer, 0), delivered[peer, device.user]),
                ("read", device.peer_read.get(peer, 0), read[peer, device.user]),
            ):
                covered = max((seq for seq in own if seq <= truth), default=0)
                if told < covered:
                    yield f"{device.user}/{device.device} was told {name} {told} of {peer}, the truth is {covered}"


def nothing_claimed_unsaid(history: History, _final: FinalState) -> Iterator[str]:
    """G6: no frame told a mark that no device of that user had said before."""
    delivered: dict[tuple[str, str], int] = defaultdict(int)
    read: dict[tuple[str, str], int] = defaultdict(int)
    for item in history.observations:
        if isinstance(item, Acked):
            key = (item.user, item.peer)
            delivered[key] = max(delivered[key], item.seq)
            if item.read:
                read[key] = max(read[key], item.seq)
        elif isinstance(item, Claimed):
            key = (item.user, item.other)
            if item.delivered > delivered[key] or item.read > read[key]:
                yield f"{item} but {item.user} had said {delivered[key]}, {read[key]}"


def syncs_never_fall(history: History, _final: FinalState) -> Iterator[str]:
    """G7: a later sync of a device never carries an older mark than an earlier one."""
    newest: dict[tuple[str, str, str], Synced] = {}
    for item in history.observations:
        if isinstance(item, Synced):
            before = newest.get((item.user, item.device, item.peer))
            if before is not None and any(now < then for now, then in zip(_marks(item), _marks(before), strict=True)):
                yield f"{item} after {before}"
            newest[item.user, item.device, item.peer] = item


def _marks(item: Synced) -> tuple[int, ...]:
    return (item.last, item.cursor, item.read, item.peer_delivered, item.peer_read)


def _by_seq(final: FinalState) -> dict[tuple[tuple[str, str], int], Entry]:
    return {(pair, entry.seq): entry for pair, log in final.logs.items() for entry in log}


CHECKS: Final[tuple[Check, ...]] = (
    stored_once,
    numbered_densely,
    confirmed_as_stored,
    seen_as_stored,
    sender_order,
    devices_complete,
    receipts_converged,
    nothing_claimed_unsaid,
    syncs_never_fall,
)


def violations(history: History, final: FinalState) -> list[str]:
    """Return every broken promise of a run, each with the name of its check."""
    return [f"{check.__name__}: {found}" for check in CHECKS for found in check(history, final)]
