"""How many handshakes wait at once, and when the others come again."""

from gateway.admissions import MOST_S, Admissions

NOW = 1_000.0


def full(most: int) -> Admissions:
    admissions = Admissions(most)
    for _ in range(most):
        assert admissions.refuse(NOW) is None
        admissions.begin()
    return admissions


def test_past_the_bound_a_handshake_is_refused_until_one_that_waits_is_through() -> None:
    admissions = full(2)
    assert admissions.refuse(NOW) is not None
    admissions.end(0.1, admitted=False)
    assert admissions.refuse(NOW) is None


def test_those_sent_away_come_again_one_after_the_other() -> None:
    admissions = full(100)
    times = [admissions.refuse(NOW) or 0 for _ in range(1_000)]
    assert times == sorted(times)
    assert [times.count(second) for second in range(3, 11)] == [100] * 8, "as many as wait in the time of one wait"


def test_who_comes_again_when_told_and_finds_no_room_is_counted_once() -> None:
    admissions = full(100)
    first = [admissions.refuse(NOW) or 0 for _ in range(500)]
    then = NOW + max(first)
    assert [admissions.refuse(then) or 0 for _ in range(500)] == first, "the line is as long as it was"


def test_a_line_outside_grows_shorter_as_their_times_come_and_moves_as_fast_as_admissions() -> None:
    admissions = full(100)
    for _ in range(500):
        admissions.refuse(NOW)
    for _ in range(500):
        admissions.end(4.0, admitted=True)
        admissions.begin()
    assert (admissions.refuse(NOW) or 0) > 20, "all of them are still to come"
    assert admissions.refuse(NOW + MOST_S) == 5, "none of them is"


def test_nobody_is_sent_away_for_longer_than_a_clients_longest_backoff() -> None:
    admissions = full(1)
    assert max(admissions.refuse(NOW) or 0 for _ in range(1_000)) == MOST_S


def test_without_a_bound_nobody_is_refused() -> None:
    admissions = Admissions(0)
    for _ in range(10_000):
        admissions.begin()
    assert admissions.refuse(NOW) is None
