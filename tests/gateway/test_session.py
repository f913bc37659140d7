"""What one connection may still do."""

from gateway.bucket import Bucket
from gateway.session import Session
from hypothesis import given
from hypothesis import strategies as st


def make(*, rate: float = 100, burst: float = 1000, max_in_flight: int = 1000, now: float = 0.0) -> Session:
    return Session(rate=rate, burst=burst, max_in_flight=max_in_flight, now=now, expires_at_s=100.0)


def test_a_burst_passes_and_the_next_is_told_how_long_to_wait() -> None:
    session = make(rate=10, burst=3)
    assert [session.spend(0.0) for _ in range(3)] == [0, 0, 0]
    wait_ms = session.spend(0.0)
    assert 100 <= wait_ms <= 102
    assert session.spend(wait_ms / 1000) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=50))
def test_waiting_as_told_is_enough_after_any_history(tries: list[int]) -> None:
    bucket, now = Bucket(rate=7, burst=2, now=0.0), 0.0
    for count in tries:
        wait_ms = 0
        for _ in range(count):
            wait_ms = bucket.spend(now)
        now += wait_ms / 1000
        if wait_ms:
            assert bucket.spend(now) == 0


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_history_gives_more_than_rate_and_burst(pauses: list[float]) -> None:
    bucket, now, passed = Bucket(rate=2, burst=3, now=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        passed += bucket.spend(now) == 0
    assert passed <= 3 + 2 * now + 1e-6


def test_sends_past_the_window_are_refused_until_one_is_answered() -> None:
    session = make(max_in_flight=2)
    assert [session.begin_send(1.0) for _ in range(3)] == [True, True, False]
    session.end_send()
    assert session.begin_send(1.0)


def test_a_send_without_an_answer_is_forgotten_after_15_s() -> None:
    session = make(max_in_flight=1)
    assert session.begin_send(1.0)
    assert not session.begin_send(15.9)
    assert session.begin_send(16.1)


def test_the_answer_to_a_forgotten_send_does_not_count_below_zero() -> None:
    session = make(max_in_flight=1)
    session.end_send()
    assert session.in_flight == 0
    assert session.begin_send(0.0)
    session.end_send()
    session.end_send()
    assert session.in_flight == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 4)), max_size=200))
def test_sends_in_flight_are_never_negative_nor_past_the_limit(steps: list[tuple[bool, float]]) -> None:
    session, now = make(max_in_flight=5), 0.0
    for begins, pause in steps:
        now += pause
        if begins:
            session.begin_send(now)
        else:
            session.end_send()
        assert 0 <= session.in_flight <= 5


def test_the_20th_strike_within_60_s_ends_the_connection() -> None:
    session = make()
    assert [session.strike(float(n)) for n in range(20)] == [False] * 19 + [True]


def test_strikes_that_are_spread_end_nothing() -> None:
    session = make()
    assert not any(session.strike(n * 3.2) for n in range(100))


def test_presence_that_was_told_last_is_no_news_and_one_that_is_watched_no_more_is_forgotten() -> None:
    session = make()
    assert session.is_news("bob", b"on")
    assert session.is_news("bob", b"on")
    session.subscriptions["bob"] = b""
    assert [session.is_news("bob", frame) for frame in (b"on", b"on", b"off", b"on")] == [True, False, True, True]
    del session.subscriptions["bob"]
    assert session.is_news("bob", b"on")
    assert session.subscriptions == {}
