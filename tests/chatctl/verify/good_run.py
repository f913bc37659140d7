"""A run by hand that keeps every promise, as material for mutants: alice and bob talk, wes watches, carol visits."""

from chatctl.verify.final_state import DeviceEnd, Entry, FinalState, MemberEnd, StreamEnd
from chatctl.verify.history import (
    Acked,
    Claimed,
    Closed,
    Connecting,
    Fault,
    Forging,
    History,
    Observation,
    Overreached,
    PresenceTold,
    Probe,
    Seen,
    Sending,
    Sent,
    SyncDone,
    Synced,
    Watching,
    Welcomed,
    digest,
)

PAIR = ("alice", "bob")
ONE, TWO, THREE = digest("one"), digest("two"), digest("three")
LOG = [
    Entry(1, "alice", "a1", 10, ONE, "read"),
    Entry(2, "bob", "b1", 11, TWO, "read"),
    Entry(3, "alice", "a2", 12, THREE, "read"),
]
BEYOND = 1_000_003
END_S = 100.0


def _arrival(at_s: float, user: str, device: str, link: int, gateway: str = "gateway-1") -> list[Observation]:
    return [
        Connecting(at_s - 0.2, user, device, 0, "ws://one"),
        Welcomed(at_s, user, device, link, f"{gateway}.ab12", "epoch", 30.0),
        SyncDone(at_s + 0.3, user, device, link, "t"),
    ]


def _talk() -> list[Observation]:
    return [
        Sending(2.0, "alice", "phone", 1, "bob", "a1", ONE),
        Sent(2.1, "alice", "phone", 1, "bob", "a1", 1, 10),
        Seen(2.1, "bob", "phone", 2, "alice", "alice", 1, "a1", 10, ONE),
        Acked(2.2, "bob", "phone", 2, "alice", 1, read=True),
        Claimed(2.3, "alice", "phone", 1, "bob", "alice", 1, 1),
        Sending(3.0, "bob", "phone", 2, "alice", "b1", TWO),
        Sent(3.1, "bob", "phone", 2, "alice", "b1", 2, 11),
        Seen(3.1, "alice", "phone", 1, "bob", "bob", 2, "b1", 11, TWO),
        Acked(3.2, "alice", "phone", 1, "bob", 2, read=True),
        Claimed(3.3, "bob", "phone", 2, "alice", "bob", 2, 2),
        Sending(4.0, "alice", "phone", 1, "bob", "a2", THREE),
        Sent(4.1, "alice", "phone", 1, "bob", "a2", 3, 12),
        Seen(4.1, "bob", "phone", 2, "alice", "alice", 3, "a2", 12, THREE),
        Acked(4.2, "bob", "phone", 2, "alice", 3, read=True),
        Claimed(4.3, "alice", "phone", 1, "bob", "alice", 3, 3),
        Acked(5.0, "alice", "phone", 1, "bob", 3, read=False),
        Forging(6.0, "alice", "phone", 1, "bob", "a1", digest("another")),
        Overreached(7.0, "bob", "phone", 2, "alice", BEYOND),
    ]


def _handover() -> list[Observation]:
    return [
        *_arrival(30.0, "bob", "phone", 4, "gateway-2"),
        Synced(30.2, "bob", "phone", 4, "alice", 3, 3, 3, 3, 2),
        Closed(31.0, "bob", "phone", 2, 4409, ours=False),
    ]


def _return() -> list[Observation]:
    """Bob's laptop was there at the start, went away, and gets everything with one sync."""
    seen = [Seen(70.1, "bob", "laptop", 7, "alice", e.sender, e.seq, e.id, e.ts, e.digest, "sync") for e in LOG]
    claims = Claimed(70.05, "bob", "laptop", 7, "alice", "bob", 3, 2)
    return [
        *_arrival(70.0, "bob", "laptop", 7),
        Synced(70.05, "bob", "laptop", 7, "alice", 3, 0, 3, 3, 2),
        claims,
        *seen,
    ]


def _visit() -> list[Observation]:
    return [
        *_arrival(75.0, "carol", "phone", 8),
        PresenceTold(75.4, "wes", "phone", 3, "carol", online=True),
        Closed(80.0, "carol", "phone", 8, 0, ours=True),
        PresenceTold(80.3, "wes", "phone", 3, "carol", online=False),
    ]


def good_run() -> tuple[History, FinalState]:
    """Return a fresh copy of the run and of its end."""
    seen = [
        *_arrival(1.0, "alice", "phone", 1),
        *_arrival(1.0, "bob", "phone", 2),
        *_arrival(1.0, "bob", "laptop", 6),
        Closed(1.5, "bob", "laptop", 6, 0, ours=True),
        *_arrival(1.1, "wes", "phone", 3),
        Watching(1.4, "wes", "phone", 3, ("alice", "bob", "carol")),
        PresenceTold(1.5, "wes", "phone", 3, "alice", online=True),
        PresenceTold(1.5, "wes", "phone", 3, "bob", online=True),
        PresenceTold(1.5, "wes", "phone", 3, "carol", online=False),
        *_talk(),
        *_handover(),
        *_return(),
        *_visit(),
        SyncDone(END_S, "wes", "phone", 3, "t"),
    ]
    history = History(observations=sorted(seen, key=lambda item: item.at_s))
    history.probes = [Probe(40.0, "send", 0.2)]
    history.calm_s, history.quiet_s = 40.0, 60.0
    return history, _end()


def _device(user: str, device: str, peer: str, *, came_late: bool = False) -> DeviceEnd:
    return DeviceEnd(
        user=user,
        device=device,
        start={peer: 0},
        cursor={peer: 3},
        own_read={peer: 3 if user == "bob" else 2},
        peer_delivered={peer: 3},
        peer_read={peer: 3 if user == "alice" else 2},
        held={peer: {entry.seq: entry.id for entry in LOG}},
        unanswered=frozenset(),
        came_late=came_late,
    )


def _end() -> FinalState:
    return FinalState(
        logs={PAIR: list(LOG)},
        mirrors={PAIR: list(LOG)},
        rows={PAIR: list(LOG)},
        devices=[
            _device("alice", "phone", "bob"),
            _device("bob", "phone", "alice"),
            _device("bob", "laptop", "alice", came_late=True),
        ],
        fresh={"alice": {"bob": 3}, "bob": {"alice": 3}},
        listed={"alice": {"bob": 3}, "bob": {"alice": 3}},
        members=[MemberEnd("alice", "bob", 3, 3, 2, 3, 3), MemberEnd("bob", "alice", 3, 3, 3, 3, 2)],
        streams=[StreamEnd("chat:in:{0}", 0, 0)],
        dead=[],
        early=[],
        stale=[],
        online={"alice": (True, True), "bob": (True, True), "carol": (False, False)},
    )


def with_fault(history: History, kind: str, target: str, begin_s: float, end_s: float) -> None:
    """Add one fault to a run."""
    history.faults += [Fault(begin_s, kind, target, begins=True), Fault(end_s, kind, target, begins=False)]
