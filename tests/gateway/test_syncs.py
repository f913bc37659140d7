"""The pulling of syncs, with a clock of the test's own."""

from typing import Any

from chatcore.errors import Refusal
from chatcore.push import Admission, Page
from chatcore.stream import SyncRequest
from gateway.metrics import GatewayMetrics
from gateway.session import Session
from gateway.syncs import ANSWER_S, MAX_IN_FLIGHT, PERIOD_S, SPREAD_S, Syncs
from prometheus_client import CollectorRegistry


class Peer:
    """Stands for a connection: pages pile up until they are taken."""

    def __init__(self, number: int) -> None:
        self.number, self.user, self.device, self.entered_ms = number, f"u{number}", "phone", 7
        self.session = Session(rate=1, burst=1, max_in_flight=1, now=0, expires_at_s=0)
        self.frames: list[bytes] = []
        self.left: list[Any] = []

    def push(self, frame: bytes, left: Any = None) -> None:
        self.frames.append(frame)
        if left is not None:
            self.left.append(left)


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[Any] = []
        metrics = GatewayMetrics(CollectorRegistry())
        self.syncs = Syncs(gateway="g", ask=self.asked.append, metrics=metrics, clock=lambda: self.now)

    def admit(self, number: int = 1, since: str = "") -> tuple[Any, Any]:
        peer: Any = Peer(number)
        return peer, self.syncs.admit(peer, since)

    def answer(self, request: SyncRequest, position: str = "", token: str = "", frame: bytes = b"p") -> None:
        self.syncs.page(request.connection, Page(request.number, position, token, frame).encode())

    def finish(self, number: int = 1) -> Any:
        peer, _ = self.admit(number)
        self.syncs.admission(number, Admission(1, None).encode())
        self.answer(self.asked[-1], token="t1")
        return peer

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.syncs.look()


async def test_a_handshake_asks_for_admission_and_the_first_page() -> None:
    bench = Bench()
    _, admission = bench.admit(since="old")
    (request,) = bench.asked
    assert (request.admit, request.number, request.since, request.position) == (True, 1, "old", "")
    bench.syncs.admission(1, Admission(1, Refusal.REVOKED).encode())
    assert admission.result() is Refusal.REVOKED


async def test_the_next_page_is_asked_when_the_one_before_has_left() -> None:
    bench = Bench()
    peer, _ = bench.admit(since="old")
    bench.syncs.admission(1, Admission(1, None).encode())
    bench.answer(bench.asked[0], position="p2", frame=b"one")
    assert peer.frames == [b"one"]
    bench.wait(60)
    assert len(bench.asked) == 1
    peer.left.pop()()
    request = bench.asked[1]
    assert (request.admit, request.number, request.since, request.position) == (False, 2, "old", "p2")


async def test_a_page_of_another_number_or_connection_is_dropped() -> None:
    bench = Bench()
    peer, _ = bench.admit()
    bench.syncs.page(1, Page(2, "", "t", b"x").encode())
    bench.syncs.page(9, Page(1, "", "t", b"x").encode())
    assert peer.frames == []
    bench.answer(bench.asked[0], token="t")
    bench.answer(bench.asked[0], token="t")
    assert peer.frames == [b"p"]


async def test_a_page_that_does_not_come_is_asked_again_with_a_new_number() -> None:
    bench = Bench()
    bench.admit(since="s")
    bench.wait(ANSWER_S - 0.1)
    assert len(bench.asked) == 1
    bench.wait(0.2)
    assert [(r.number, r.since, r.position) for r in bench.asked] == [(1, "s", ""), (2, "s", "")]


async def test_a_worker_that_could_not_answer_is_asked_after_a_second() -> None:
    bench = Bench()
    bench.admit()
    bench.syncs.unsynced(1, b"7")
    bench.syncs.unsynced(1, b"1")
    bench.wait(0.5)
    assert len(bench.asked) == 1
    bench.wait(0.6)
    assert bench.asked[1].number == 2


async def test_no_more_than_32_pages_are_in_flight_and_the_rest_comes_in_order() -> None:
    bench = Bench()
    for number in range(1, 41):
        bench.admit(number)
    assert [r.connection for r in bench.asked] == list(range(1, MAX_IN_FLIGHT + 1))
    bench.answer(bench.asked[0], token="t")
    assert bench.asked[-1].connection == 33
    bench.syncs.forget(2)
    bench.wait(0.3)
    assert bench.asked[-1].connection == 34


async def test_a_sync_again_goes_on_from_the_last_token() -> None:
    bench = Bench()
    peer = bench.finish()
    bench.syncs.again([peer], "gap")
    bench.wait(SPREAD_S)
    assert (bench.asked[1].since, bench.asked[1].position, bench.asked[1].admit) == ("t1", "", False)


async def test_whom_a_sync_again_is_not_for_gets_none() -> None:
    bench = Bench()
    first, second = bench.finish(1), bench.finish(2)
    bench.syncs.again([first], "return")
    bench.syncs.forget(second.number)
    bench.syncs.again([second], "return")
    bench.wait(SPREAD_S)
    assert [request.connection for request in bench.asked] == [1, 2, 1]


async def test_however_often_and_fast_it_is_asked_for_a_sync_begins_in_time_and_once() -> None:
    bench = Bench()
    peer = bench.finish()
    for _ in range(int(SPREAD_S / 0.01)):
        bench.syncs.again([peer], "gap")
        bench.wait(0.01)
    begun = len(bench.asked)
    assert begun >= 2
    bench.answer(bench.asked[1], token="t2")
    bench.wait(SPREAD_S)
    assert len(bench.asked) <= begun + 1


async def test_a_handshake_does_not_wait_behind_the_syncs_of_all_who_are_here_nor_they_behind_a_storm() -> None:
    bench = Bench()
    here = [bench.finish(number) for number in range(1, 101)]
    bench.syncs.again(here, "gap")
    bench.wait(SPREAD_S)
    del bench.asked[:-MAX_IN_FLIGHT]
    for number in range(201, 301):
        bench.admit(number)
    for request in tuple(bench.asked):
        bench.answer(request, token="t")
    following = [request.connection for request in bench.asked[MAX_IN_FLIGHT:]]
    assert len(following) == MAX_IN_FLIGHT
    assert 10 <= sum(connection > 200 for connection in following) <= 22


async def test_every_few_minutes_there_is_a_sync() -> None:
    bench = Bench()
    bench.finish()
    bench.wait(PERIOD_S * 0.7)
    assert len(bench.asked) == 1
    bench.wait(PERIOD_S * 0.6)
    assert bench.asked[1].since == "t1"


async def test_a_sync_does_not_begin_while_a_page_of_the_last_waits_to_leave() -> None:
    bench = Bench()
    peer, _ = bench.admit()
    bench.answer(bench.asked[0], position="p2")
    bench.syncs.again([peer], "gap")
    bench.wait(SPREAD_S)
    assert len(bench.asked) == 1
    peer.left.pop()()
    bench.answer(bench.asked[1], token="t1")
    bench.wait(0.3)
    assert [(r.since, r.position) for r in bench.asked[1:]] == [("", "p2"), ("t1", "")]


async def test_a_revocation_is_told_to_an_open_connection() -> None:
    bench = Bench()
    bench.finish()
    assert bench.syncs.admission(1, Admission(5, Refusal.REVOKED).encode()) is Refusal.REVOKED
    assert bench.syncs.admission(2, Admission(5, Refusal.REVOKED).encode()) is None
