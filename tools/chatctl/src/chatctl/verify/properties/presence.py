"""Owns the properties of presence (G10), as watchers see it while nothing disturbs the system.

Pure: each function yields the violations that it finds in a case. A watcher's word counts on the connection on which it
subscribed; a user is up while any device of the user has a welcomed connection.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from chatctl.verify import history as h
from chatctl.verify.case import FOR_EVER, Case, Link
from chatctl.verify.properties.violation import Found, Violation

SEEN_S: Final = 1.0
"""G10: seconds until a connection, or its closing, is visible."""
GONE_S: Final = 5.0
"""G10: seconds beyond the TTL until a vanished device is visible."""
LOST: Final = (0, 1006)
"""Codes of connections that ended without a close frame: their gateway may have died, and left their members."""


@dataclass(slots=True)
class _Watch:
    """What one connection was told about one user."""

    link: Link
    of: str
    since_s: float
    times_s: list[float] = field(default_factory=list)
    told: list[h.PresenceTold] = field(default_factory=list)

    def at(self, time_s: float) -> h.PresenceTold | None:
        """Return the last word that had come by then."""
        place = bisect_right(self.times_s, time_s)
        return self.told[place - 1] if place else None


def _unread(case: Case) -> set[int]:
    """Name the connections whose client did not read for a while: what it was told, it saw late."""
    begun: dict[tuple[str, str], float] = {}
    found: set[int] = set()
    for item in case.of(h.Stalling):
        since_s = begun.pop((item.user, item.device), item.at_s)
        if item.begins:
            begun[item.user, item.device] = item.at_s
        for link in case.links_of(item.user, item.device):
            if link.up_s <= item.at_s and since_s <= link.down_s:
                found.add(link.number)
    return found


def _watches(case: Case) -> Iterator[_Watch]:
    found: dict[tuple[int, str], _Watch] = {}
    unread = _unread(case)
    for item in case.history.observations:
        if isinstance(item, h.Watching) and item.link in case.links and item.link not in unread:
            for user in item.users:
                found.setdefault((item.link, user), _Watch(case.links[item.link], user, item.at_s))
        elif isinstance(item, h.PresenceTold) and (watch := found.get((item.link, item.of))):
            watch.times_s.append(item.at_s)
            watch.told.append(item)
    yield from found.values()


def _spans(case: Case) -> dict[str, list[tuple[float, float, Link]]]:
    """Return, per user, from when to when the user was up, and the connection that ended last."""
    spans: dict[str, list[tuple[float, float, Link]]] = defaultdict(list)
    for link in sorted(case.links.values(), key=lambda one: one.up_s):
        known = spans[link.user]
        if known and link.up_s <= known[-1][1]:
            begun_s, ended_s, last = known[-1]
            known[-1] = (begun_s, *max((ended_s, last), (link.down_s, link), key=lambda end: end[0]))
        else:
            known.append((link.up_s, link.down_s, link))
    return spans


def online_shows_in_time(case: Case) -> Found:
    """A user who connects is shown online within 1 s."""
    spans = _spans(case)
    for watch in _watches(case):
        for begun_s, ended_s, link in spans.get(watch.of, ()):
            due_s = max(begun_s, watch.since_s) + SEEN_S
            if due_s > min(ended_s, watch.link.down_s, case.end_s) or case.disturbed(begun_s, due_s):
                continue
            word = watch.at(due_s)
            if word is None or not word.online:
                shown = (word,) if word else ()
                yield Violation(f"{watch.link.user} did not see {link.user} online {SEEN_S:.0f} s after", shown)


def _knocks(case: Case) -> dict[str, list[tuple[float, float]]]:
    """Return, per user, from when to when a device's handshake was under way: welcomed, or tried again, it is over."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    begun: dict[tuple[str, str], float] = {}
    for item in case.history.observations:
        if isinstance(item, h.Connecting | h.Welcomed):
            device = (item.user, item.device)
            if (begun_s := begun.pop(device, None)) is not None:
                found[item.user].append((begun_s, item.at_s))
            if isinstance(item, h.Connecting):
                begun[device] = item.at_s
    for (user, _), begun_s in begun.items():
        found[user].append((begun_s, FOR_EVER))
    return found


def _left_behind(case: Case) -> dict[str, list[tuple[float, float]]]:
    """Return, per user, when connections were lost, and until when the members of a dead gateway may be left."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for link in case.links.values():
        if link.code in LOST and (not link.ours or case.disturbed(link.down_s, link.down_s)):
            found[link.user].append((link.down_s, link.down_s + link.ttl_s + GONE_S))
    return found


def gone_shows_in_time(case: Case) -> Found:
    """A user whose last connection closed is shown offline within 1 s; one who vanished, within the TTL and 5 s."""
    spans, knocks, left = _spans(case), _knocks(case), _left_behind(case)
    for watch in _watches(case):
        known = spans.get(watch.of, [])
        for place, (_, ended_s, link) in enumerate(known):
            # The server may know that a user is back before the client has read so, even before the other one ended.
            under_way = [begun_s for begun_s, over_s in knocks.get(watch.of, ()) if over_s > ended_s]
            back_s = min([known[place + 1][0] if place + 1 < len(known) else FOR_EVER, *under_way])
            allowed_s = SEEN_S if link.ours else link.ttl_s + GONE_S
            due_s = max(
                [ended_s + allowed_s, *(until_s for at_s, until_s in left.get(watch.of, ()) if at_s <= ended_s)]
            )
            if watch.since_s > ended_s or due_s > min(back_s, watch.link.down_s, case.end_s):
                continue
            word = watch.at(due_s)
            if word is not None and word.online and not case.disturbed(ended_s, due_s):
                yield Violation(
                    f"{watch.link.user} saw {link.user} online {due_s - ended_s:.0f} s after the end", (word,)
                )


def nobody_flaps(case: Case) -> Found:
    """Nobody is shown offline while any device of theirs stays connected."""
    spans = _spans(case)
    for watch in _watches(case):
        for word in watch.told:
            if word.online:
                continue
            for begun_s, ended_s, link in spans.get(watch.of, ()):
                steady = begun_s + SEEN_S < word.at_s < ended_s
                if steady and not case.disturbed(word.at_s - link.ttl_s - GONE_S, word.at_s):
                    yield Violation(f"{word.user} was told that {word.of} is offline, who is connected", (word,))


def a_late_leaver_evicts_nobody(case: Case) -> Found:
    """The end of a replaced connection does not make its user offline while the newer one stands."""
    watches = list(_watches(case))
    for old in case.links.values():
        for new in case.links_of(old.user, old.device):
            if not old.up_s < new.up_s < old.down_s < FOR_EVER or case.disturbed(new.up_s, old.down_s + GONE_S):
                continue
            for word in (word for watch in watches if watch.of == old.user for word in watch.told):
                soon = old.down_s <= word.at_s <= min(new.down_s, old.down_s + GONE_S)
                if soon and not word.online:
                    yield Violation(f"{word.user} was told that {old.user} is offline, replaced and connected", (word,))


def no_ghosts_remain(case: Case) -> Found:
    """In the end a new watcher is told the truth about everybody."""
    for user, (told, truth) in (case.final.online or {}).items():
        if told != truth:
            yield Violation(f"{user} is shown {'online' if told else 'offline'} and is not")
