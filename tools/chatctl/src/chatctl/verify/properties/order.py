"""Owns the properties of the numbers: one order for all, without holes, in the order of sending (G3, G4).

Pure: each function yields the violations that it finds in a case.
"""

from chatctl.verify import history as h
from chatctl.verify.case import Case, key_of, other_of
from chatctl.verify.final_state import DeviceEnd, Log
from chatctl.verify.history import Observation, Pair, Sending, pair_of
from chatctl.verify.properties.violation import Found, Violation


def numbers_have_no_holes(case: Case) -> Found:
    """A conversation is numbered 1, 2, 3 … without holes, wherever it is read."""
    for name, pair, log in case.every_log():
        numbers = [entry.seq for entry in log]
        if numbers != list(range(1, len(numbers) + 1)):
            at = next(place for place, seq in enumerate(numbers, 1) if seq != place)
            yield Violation(f"in {name} of {pair}, where {at} belongs, there is {numbers[at - 1]} of {len(numbers)}")


def a_number_names_one_message(case: Case) -> Found:
    """A number of a conversation names the same message for every observer, for ever."""
    first: dict[tuple[Pair, int], tuple[tuple[str, str], Observation]] = {}
    for item in case.history.observations:
        if not isinstance(item, h.Sent | h.Seen):
            continue
        place = (pair_of(item.user, item.peer), item.seq)
        name = (item.sender if isinstance(item, h.Seen) else item.user, item.id)
        before, shown = first.setdefault(place, (name, item))
        if before != name:
            yield Violation(f"{place} was {before} and then {name}", (shown, item))
    for place, (name, shown) in first.items():
        entry = case.numbered.get(place)
        if entry is None or (entry.sender, entry.id) != name:
            yield Violation(f"{place} was told as {name}; the store has {entry and (entry.sender, entry.id)}", (shown,))


def all_end_with_the_same_log(case: Case) -> Found:
    """Both users' history, MySQL and every device hold the same log in the end, and a new device finds all of it."""
    for name, pair, log in case.every_log():
        first = case.final.logs.get(pair)
        if first is not None and _bare(log) != _bare(first):
            yield Violation(f"{name} of {pair} is not what the first user's history says: {_difference(log, first)}")
    for name, told in (("a new device's sync", case.final.fresh), ("`conversations`", case.final.listed)):
        for pair, log in case.final.logs.items():
            for user in pair:
                last = told.get(user, {}).get(other_of(pair, user), 0)
                if user in told and last != len(log):
                    yield Violation(f"{name} told {user} of {last} messages in {pair}; there are {len(log)}")


def _bare(log: Log) -> list[tuple[object, ...]]:
    return [(entry.seq, entry.sender, entry.id, entry.ts, entry.digest) for entry in log]


def _difference(one: Log, other: Log) -> str:
    for left, right in zip(_bare(one), _bare(other), strict=False):
        if left != right:
            return f"{left} instead of {right}"
    return f"{len(one)} entries instead of {len(other)}"


def every_device_is_complete(case: Case) -> Found:
    """Every device holds everything from where it started to the end of the log, and owes no send (G5, G8)."""
    for device in case.final.devices:
        if device.unanswered:
            yield Violation(f"{device.user}/{device.device} has {len(device.unanswered)} sends without an answer")
        for pair, log in case.final.logs.items():
            if device.user in pair:
                yield from _incomplete(device, pair[1] if device.user == pair[0] else pair[0], log)


def _incomplete(device: DeviceEnd, peer: str, log: Log) -> Found:
    start, held = device.start.get(peer, 0), device.held.get(peer, {})
    name = f"{device.user}/{device.device}"
    missing = [entry.seq for entry in log if entry.seq > start and held.get(entry.seq) != entry.id]
    if missing:
        yield Violation(f"{name} lacks {missing[:20]} of {len(log)} with {peer}")
    if device.cursor.get(peer, 0) != len(log):
        yield Violation(f"{name} has cursor {device.cursor.get(peer, 0)} of {len(log)} with {peer}")


def sender_order_is_kept(case: Case) -> Found:
    """On one connection, numbers follow the order of sending, those sent again or refused excepted.

    What a library sent has no link here: nobody but it knows on which connection, and how often.
    """
    newest: dict[tuple[int, str], tuple[int, Sending]] = {}
    for item in case.of(Sending):
        key = (item.user, item.peer, item.id)
        entries = case.stored.get(key)
        if not item.link or len(case.sendings[key]) > 1 or key in case.refused or not entries:
            continue
        seq, before = newest.get((item.link, item.peer), (0, item))
        if entries[0].seq < seq:
            what = f"{item.id} has {entries[0].seq}, and {before.id}, sent before it on the connection, has {seq}"
            yield Violation(what, (before, item))
        newest[item.link, item.peer] = max((seq, before), (entries[0].seq, item), key=lambda pair: pair[0])


def later_sends_get_higher_numbers(case: Case) -> Found:
    """A send that begins when another of the conversation is confirmed already gets a higher number."""
    highest: dict[Pair, h.Sent | h.Seen] = {}
    begun: set[tuple[str, str, str]] = set()
    for item in case.history.observations:
        if isinstance(item, Sending):
            key = (item.user, item.peer, item.id)
            above = highest.get(pair_of(item.user, item.peer))
            entries = case.stored.get(key)
            if key not in begun and above is not None and entries and entries[0].seq < above.seq:
                yield Violation(f"{key} was begun when {above.seq} was known, and has {entries[0].seq}", (above, item))
            begun.add(key)
        elif isinstance(item, h.Sent | h.Seen):
            pair = pair_of(item.user, item.peer)
            if pair not in highest or item.seq > highest[pair].seq:
                highest[pair] = item


def told_is_as_stored(case: Case) -> Found:
    """What `sent` and messages said, every time, is what the store says (G1, G2, G3)."""
    for item in case.told:
        entry = case.numbered.get((pair_of(item.user, item.peer), item.seq))
        key = key_of(item) if isinstance(item, h.Seen) else (item.user, item.peer, item.id)
        if entry is None or (entry.sender, entry.id, entry.ts) != (key[0], item.id, item.ts):
            yield Violation(f"{key} was told as {item.seq} at {item.ts}; the store has {entry}", (item,))
