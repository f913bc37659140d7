"""How many handshakes wait at once, and when the others come again."""

from gateway.admissions import MOST_S, Admissions


def full(most: int) -> Admissions:
    admissions = Admissions(most)
    for _ in range(most):
        assert admissions.refuse() is None
        admissions.begin()
    return admissions


def test_past_the_bound_a_handshake_is_refused_until_one_that_waits_is_through() -> None:
    admissions = full(2)
    assert admissions.refuse() is not None
    admissions.end(0.1, admitted=False)
    assert admissions.refuse() is None


def test_those_sent_away_come_again_one_after_the_other() -> None:
    admissions = full(100)
    times = [admissions.refuse() or 0 for _ in range(1_000)]
    assert times == sorted(times)
    assert [times.count(second) for second in range(3, 11)] == [100] * 8, "as many as wait in the time of one wait"


def test_a_line_outside_grows_shorter_with_every_admission_and_moves_as_fast_as_they_do() -> None:
    admissions = full(100)
    for _ in range(500):
        admissions.refuse()
    for _ in range(500):
        admissions.end(4.0, admitted=True)
        admissions.begin()
    assert admissions.refuse() == 5


def test_nobody_is_sent_away_for_longer_than_a_clients_longest_backoff() -> None:
    admissions = full(1)
    assert max(admissions.refuse() or 0 for _ in range(1_000)) == MOST_S


def test_without_a_bound_nobody_is_refused() -> None:
    admissions = Admissions(0)
    for _ in range(10_000):
        admissions.begin()
    assert admissions.refuse() is None
