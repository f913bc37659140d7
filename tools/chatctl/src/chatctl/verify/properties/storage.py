"""Owns the properties of what is stored and given out: nothing lost, nothing invented, nothing twice (G1, G2, G9).

Pure: each function yields the violations that it finds in a case.
"""

from collections import defaultdict

from chatctl.verify import history as h
from chatctl.verify.case import Case, key_of, other_of
from chatctl.verify.history import Key, Observation, pair_of
from chatctl.verify.properties.violation import Found, Violation


def confirmed_is_stored(case: Case) -> Found:
    """A message for which any device got `sent` is in the store, under the number that it was told."""
    for key, confirmed in case.confirmed.items():
        numbers = {entry.seq for entry in case.stored.get(key, ())}
        for sent in confirmed:
            if sent.seq not in numbers:
                yield Violation(f"{key} was confirmed as {sent.seq}; the store has it as {sorted(numbers)}", (sent,))


def confirmed_is_in_every_view(case: Case) -> Found:
    """A message for which any device got `sent` is in the final view of every device of both users."""
    for key, confirmed in case.confirmed.items():
        sent = confirmed[0]
        pair = pair_of(key[0], key[1])
        for name, of, log in case.every_log():
            if of == pair and not (sent.seq <= len(log) and log[sent.seq - 1].id == sent.id):
                yield Violation(f"{key} was confirmed as {sent.seq} and is not there in {name}", (sent,))
        for device in case.final.devices:
            if device.user not in pair:
                continue
            peer = other_of(pair, device.user)
            held = device.held.get(peer, {}).get(sent.seq)
            if sent.seq > device.start.get(peer, 0) and held != sent.id:
                what = f"{device.user}/{device.device} holds {held} there"
                yield Violation(f"{key} was confirmed as {sent.seq}; {what}", (sent,))


def nothing_invented(case: Case) -> Found:
    """Everything seen or stored was sent by that sender to that recipient."""
    for seen in case.of(h.Seen):
        key = key_of(seen)
        if seen.sender in (seen.user, seen.peer) and key not in case.sendings:
            yield Violation(f"{seen.user}/{seen.device} saw {key}, which nobody sent", (seen,))
    for key, entries in case.stored.items():
        if key not in case.sendings:
            yield Violation(f"{key} is stored as {entries[0].seq} and nobody sent it")


def bodies_are_equal(case: Case) -> Found:
    """Every body seen or stored is byte for byte the one that was sent, also after a send with another was refused."""
    for seen in case.of(h.Seen):
        sendings = case.sendings.get(key_of(seen), ())
        if sendings and seen.digest not in {sending.digest for sending in sendings}:
            yield Violation(f"{seen.user}/{seen.device} saw another body of {key_of(seen)}", (sendings[0], seen))
    for key, entries in case.stored.items():
        for entry in entries:
            sendings = case.sendings.get(key, ())
            if sendings and entry.digest not in {sending.digest for sending in sendings}:
                yield Violation(f"{key} is stored with another body", (sendings[0],))


def one_entry_per_message(case: Case) -> Found:
    """A message has one entry, one number and one time, the same in every answer and for every observer."""
    for key, entries in case.stored.items():
        if len(entries) > 1:
            places = [entry.seq for entry in entries]
            yield Violation(f"{key} is stored {len(entries)} times, as {places}", tuple(case.sendings.get(key, ())))
    first: dict[Key, tuple[int, int, Observation]] = {}
    for item in case.history.observations:
        if not isinstance(item, h.Sent | h.Seen):
            continue
        key = key_of(item) if isinstance(item, h.Seen) else (item.user, item.peer, item.id)
        seq, ts, shown = first.setdefault(key, (item.seq, item.ts, item))
        if (item.seq, item.ts) != (seq, ts):
            yield Violation(f"{key} was told as {seq} at {ts} and as {item.seq} at {item.ts}", (shown, item))
    for key, (seq, ts, shown) in first.items():
        for entry in case.stored.get(key, ()):
            if (entry.seq, entry.ts) != (seq, ts):
                yield Violation(f"{key} was told as {seq} at {ts} and is stored as {entry.seq} at {entry.ts}", (shown,))


def refused_stays_out(case: Case) -> Found:
    """A message that was refused for good is not stored (one refused for its other body is: as it was first sent)."""
    for key, refusals in case.refused.items():
        for refusal in refusals:
            if refusal.final and refusal.code != "id_conflict" and case.stored.get(key):
                yield Violation(f"{key} was refused with {refusal.code} and is stored", (refusal,))


def nobody_sees_what_is_not_theirs(case: Case) -> Found:
    """A user is told of messages, marks and presence only where that user takes part or asked."""
    talking = {pair_of(user, peer) for user, peer, _ in case.sendings}
    senders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for user, peer, id_ in case.sendings:
        senders[user, id_].add(peer)
    watched: dict[int, set[str]] = defaultdict(set)
    for item in case.history.observations:
        if isinstance(item, h.Watching):
            watched[item.link].update(item.users)
        elif isinstance(item, h.PresenceTold) and item.of not in watched[item.link]:
            yield Violation(f"{item.user} was told of {item.of}'s presence without asking", (item,))
        elif isinstance(item, h.Seen) and _is_foreign(item, senders):
            yield Violation(f"{item.user}/{item.device} saw a message of {item.sender} to another", (item,))
        elif isinstance(item, h.Claimed) and pair_of(item.of, item.other) not in talking:
            yield Violation(f"{item.user} was told marks of {item.of} with {item.other}, who never talked", (item,))
        elif isinstance(item, h.Sent) and (item.user, item.peer, item.id) not in case.sendings:
            yield Violation(f"{item.user}/{item.device} got `sent` for what {item.user} never sent", (item,))


def _is_foreign(seen: h.Seen, senders: dict[tuple[str, str], set[str]]) -> bool:
    sender, recipient, id_ = key_of(seen)
    if seen.sender not in (seen.user, seen.peer):
        return True
    peers = senders.get((sender, id_))
    return peers is not None and recipient not in peers


def frames_are_the_protocols(case: Case) -> Found:
    """Every frame that came is one that the protocol knows, with the fields that it names."""
    for garbled in case.of(h.Garbled):
        yield Violation(garbled.text, (garbled,))


def accepted_is_accounted_for(case: Case) -> Found:
    """What was accepted is stored, still in the stream, or a dead letter: their numbers agree."""
    final = case.final
    stored = sum(len(log) for log in (final.rows or {}).values())
    waiting = sum(stream.entries for stream in final.streams or () if ":in:" in stream.name)
    accepted = len(case.confirmed)
    unknown = len([key for key in case.sendings if key not in case.confirmed])
    total = stored + waiting + len(final.dead or ())
    if not accepted <= total <= accepted + unknown + waiting + len(final.dead or ()):
        yield Violation(f"{accepted} accepted and {unknown} unknown; {stored} stored, {waiting} waiting, {final.dead}")


def settled_after_commit(case: Case) -> Found:
    """No event left its stream before MySQL held what it says."""
    for what in case.final.early or ():
        yield Violation(what)


def fenced_worker_has_no_effect(case: Case) -> Found:
    """No worker wrote anything for a partition after another had become its owner."""
    for what in case.final.stale or ():
        yield Violation(what)
