"""Who is pinged, who beats and for how long it was silent, and who is given up, with a clock of the test's own."""

from itertools import pairwise
from typing import Any

import pytest
from chatcore.stream import Heartbeats
from gateway.registry import SHARES, Registry
from gateway.session import Session
from gateway.subscriptions import STEPS_AT_ONCE, STEPS_PER_ROUND, Subscriptions
from gateway.sweeper import PAUSE_S, ROUND_S, SILENCE_S, Sweeper, absent_s, heartbeats, round_s

TTL_S = 30.0


class Peer:
    """Stands for a connection."""

    def __init__(self, number: int, *, heard_at: float = 0.0, expires_at_s: float = 1e9) -> None:
        self.number, self.user, self.device = number, f"u{number}", "phone"
        self.member = f"phone|g|{number}|1"
        self.heard_at = self.vouched_at = heard_at
        self.began, self.leaving = 0.0, False
        self.session = Session(rate=1, burst=1, max_in_flight=1, now=0, expires_at_s=expires_at_s)
        self.pings: list[float] = []
        self.closed: list[int] = []
        self.aborted = False
        self.bench: Any = None

    def ping(self) -> None:
        self.pings.append(self.bench.now)

    def close(self, code: int, _: str) -> None:
        self.closed.append(code)

    def abort(self) -> None:
        self.aborted = True


class Bench:
    def __init__(self, count: int = 1, *, ttl_s: float = TTL_S, cap_s: float = 0.0) -> None:
        self.now = 0.0
        self.ttl_s = ttl_s
        self.told: list[tuple[float, Heartbeats]] = []
        self.registry = Registry()
        self.announced: list[str] = []
        self.subscriptions = Subscriptions(registry=self.registry, announce=self.announced.extend)
        outbox: Any = self
        self.lapsed: list[tuple[float, Any]] = []
        self.sent_off: list[tuple[float, Any]] = []
        self.sweeper = Sweeper(
            registry=self.registry,
            outbox=outbox,
            subscriptions=self.subscriptions,
            ttl_s=self.ttl_s,
            cap_s=cap_s,
            aged=self.send_off,
            lapsed=lambda peer: self.lapsed.append((self.now, peer)),
        )
        self.peers = [self.add(Peer(number)) for number in range(1, count + 1)]

    def add(self, peer: Peer) -> Peer:
        peer.bench = self
        connection: Any = peer
        self.registry.add(connection)
        return peer

    def send_off(self, peer: Any) -> None:
        peer.leaving = True
        self.sent_off.append((self.now, peer))

    def tell(self, beats: Heartbeats) -> None:
        self.told.append((self.now, beats))

    def wait(self, seconds: float, *, answering: bool = False) -> None:
        """Sweep for so long; peers that answer are heard as soon as they are pinged."""
        until = self.now + seconds
        while self.now < until:
            self.now += round_s(self.ttl_s) / SHARES
            self.sweeper.sweep(now=self.now, wall_s=self.now)
            for peer in self.peers if answering else ():
                if peer.pings:
                    peer.heard_at = max(peer.heard_at, peer.pings[-1])

    def never_late(self, peer: Peer) -> bool:
        """Whether each deadline of a peer was told a second or more before the one before it was over."""
        deadline = self.ttl_s
        for at, told in [*self.deadlines(peer), (self.now, 0.0)]:
            if at > deadline - 1.0:
                return False
            deadline = max(deadline, told)
        return True

    def deadlines(self, peer: Peer) -> list[tuple[float, float]]:
        """When which deadline of a peer was told."""
        return [
            (at, at - beats.silent_ms / 1000 + self.ttl_s)
            for at, beats in self.told
            if (peer.user, peer.member) in beats.members
        ]


@pytest.mark.parametrize("ttl_s", [12.0, 30.0, 600.0])
def test_an_idle_device_that_answers_is_always_told_well_before_its_deadline(ttl_s: float) -> None:
    bench = Bench(ttl_s=ttl_s)
    (peer,) = bench.peers
    bench.wait(10 * ttl_s, answering=True)
    assert bench.never_late(peer)
    assert not peer.aborted


def test_one_unanswered_ping_takes_nobody_offline() -> None:
    bench = Bench()
    (peer,) = bench.peers
    bench.wait(3 * ROUND_S, answering=True)
    pinged = len(peer.pings)
    while len(peer.pings) == pinged:
        bench.wait(0.05)
    peer.pings.clear()
    bench.wait(2 * ROUND_S, answering=True)
    assert bench.never_late(peer)


def test_a_device_that_vanished_is_told_nothing_past_what_was_heard() -> None:
    bench = Bench()
    (peer,) = bench.peers
    bench.wait(25.0, answering=True)
    heard_at = peer.heard_at
    bench.wait(100.0)
    assert max(deadline for _, deadline in bench.deadlines(peer)) < heard_at + TTL_S + 1.0
    assert peer.aborted


@pytest.mark.parametrize("ttl_s", [12.0, 30.0])
def test_who_is_heard_and_not_told_of_before_its_deadline_is_entered_again(ttl_s: float) -> None:
    """Two pauses of the process, each too short for anybody to count as silent."""
    bench = Bench(ttl_s=ttl_s)
    (peer,) = bench.peers
    bench.wait(2 * round_s(ttl_s), answering=True)
    deadline = bench.deadlines(peer)[-1][1]
    for _ in range(3):
        bench.now += absent_s(ttl_s) * 0.9
        peer.heard_at = bench.now
        bench.wait(0.5)
    bench.wait(2 * round_s(ttl_s), answering=True)
    late = next(at for at, until in bench.deadlines(peer) if until > deadline)
    assert late > deadline - 2.0
    assert [named for at, named in bench.lapsed if at <= late] == [peer]


def test_nobody_is_entered_again_who_answers_or_vanished() -> None:
    bench = Bench(count=2)
    answering, vanished = bench.peers
    bench.peers = [answering]
    bench.wait(10 * TTL_S, answering=True)
    assert bench.lapsed == []
    assert vanished.aborted


def test_beats_are_joined_by_whole_seconds_of_silence_and_none_is_made_past_the_ttl() -> None:
    peers: list[Any] = [Peer(n, heard_at=at) for n, at in enumerate((100.0, 99.5, 98.2, 98.9, 70.1, 70.0, 40.0))]
    made = heartbeats(peers, now=100.0, ttl_s=TTL_S)
    assert [(beats.silent_ms, [user for user, _ in beats.members]) for beats in made] == [
        (0, ["u0", "u1"]),
        (1000, ["u2", "u3"]),
        (29_000, ["u4"]),
    ]


def test_beats_of_many_are_packed() -> None:
    peers: list[Any] = [Peer(n) for n in range(1_001)]
    assert [len(beats.members) for beats in heartbeats(peers, now=0.0, ttl_s=TTL_S)] == [500, 500, 1]


def test_all_are_pinged_once_a_round_in_equal_shares() -> None:
    bench = Bench(2 * SHARES)
    bench.wait(ROUND_S)
    for peer in bench.peers:
        peer.pings.clear()
    bench.wait(ROUND_S)
    pings = [at for peer in bench.peers for at in peer.pings]
    assert len(pings) == 2 * SHARES
    assert {pings.count(at) for at in pings} == {2}


def test_one_that_only_speaks_hears_something_within_25_s() -> None:
    bench = Bench()
    (peer,) = bench.peers
    for _ in range(200):
        peer.heard_at = bench.now
        bench.wait(0.5)
    times = [0.0, *peer.pings, bench.now]
    assert max(after - before for before, after in pairwise(times)) < 25.0
    assert len(peer.pings) <= 6


def test_silence_of_60_s_ends_a_connection() -> None:
    bench = Bench()
    (peer,) = bench.peers
    bench.wait(SILENCE_S - 1)
    assert not peer.aborted
    bench.wait(ROUND_S + 2)
    assert peer.aborted


def test_after_a_pause_of_the_process_silence_counts_from_its_end() -> None:
    bench = Bench(SHARES)
    bench.wait(20.0, answering=True)
    bench.now += 300.0
    bench.sweeper.late(300.0, now=bench.now)
    bench.wait(SILENCE_S - 1)
    assert not any(peer.aborted for peer in bench.peers)
    bench.wait(ROUND_S + 2)
    assert all(peer.aborted for peer in bench.peers)


def test_a_loop_that_is_only_late_gives_nobody_more_time() -> None:
    bench = Bench()
    (peer,) = bench.peers
    for _ in range(20):
        bench.now += PAUSE_S - 1
        bench.sweeper.late(PAUSE_S - 1, now=bench.now)
    bench.wait(ROUND_S + 1)
    assert peer.aborted


def test_an_expired_token_is_found_within_a_second() -> None:
    bench = Bench(0)
    peers = [bench.add(Peer(number, expires_at_s=5.0)) for number in range(SHARES)]
    bench.wait(14.9)
    assert not any(peer.closed for peer in peers)
    bench.wait(1.2)
    assert all(peer.closed for peer in peers)


@pytest.mark.parametrize("ttl_s", [12.0, 30.0, 600.0])
def test_whoever_is_silent_for_as_long_as_a_beat_might_come_late_is_taken_for_absent(ttl_s: float) -> None:
    assert round_s(ttl_s) + 1 < absent_s(ttl_s) < ttl_s - round_s(ttl_s)


def test_watched_users_are_announced_once_a_minute_each_and_never_many_at_once() -> None:
    bench = Bench(0)
    bench.subscriptions.step()
    peer: Any = bench.add(Peer(1))
    for number in range(3_000):
        bench.registry.watch(peer, f"w{number}")
    bench.subscriptions.again()
    steps = []
    for _ in range(STEPS_AT_ONCE + STEPS_PER_ROUND):
        before = len(bench.announced)
        bench.subscriptions.step()
        steps.append(len(bench.announced) - before)
    assert sum(steps[:STEPS_AT_ONCE]) == 3_000
    assert max(steps[:STEPS_AT_ONCE]) == 50
    assert sum(steps[STEPS_AT_ONCE:]) == 3_000
    assert max(steps[STEPS_AT_ONCE:]) == 3


def test_nobody_is_announced_who_is_watched_no_more() -> None:
    bench = Bench(0)
    peer: Any = bench.add(Peer(1))
    for number in range(100):
        bench.registry.watch(peer, f"w{number}")
    bench.subscriptions.again()
    bench.registry.unwatch(peer, [f"w{number}" for number in range(99)])
    for _ in range(STEPS_AT_ONCE):
        bench.subscriptions.step()
    assert bench.announced == ["w99"]


def test_connections_past_their_age_are_sent_off_spread_and_each_once() -> None:
    bench = Bench(1_000, cap_s=100.0)
    bench.wait(70.0, answering=True)
    assert bench.sent_off == []
    bench.wait(45.0, answering=True)
    assert len({peer for _, peer in bench.sent_off}) == len(bench.sent_off) == 1_000
    per_s = [sum(second <= at < second + 1 for at, _ in bench.sent_off) for second in range(120)]
    assert max(per_s) <= 100


def test_many_that_are_past_their_age_at_once_still_leave_at_a_bounded_pace() -> None:
    bench = Bench(3_000, cap_s=100.0)
    for peer in bench.peers:
        peer.began = -1_000.0
    bench.wait(35.0, answering=True)
    assert len(bench.sent_off) == 3_000
    assert all(sum(second <= at < second + 1 for at, _ in bench.sent_off) <= 105 for second in range(40))


def test_without_a_cap_nobody_is_sent_off() -> None:
    bench = Bench(10)
    bench.wait(1_000.0, answering=True)
    assert bench.sent_off == []
