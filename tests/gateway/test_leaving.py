"""The arithmetic of a way out."""

from itertools import pairwise

import pytest
from chatcore.errors import ConfigurationError
from chatcore.settings import read_settings
from gateway.leaving import END_S, GRACE_S, PER_S, RESERVE_S, drain_s, greatest_age_s, shortest_shutdown_s, times
from gateway.settings import GatewaySettings


@pytest.mark.parametrize("count", [0, 1, 2, 100, 1_000, 20_000])
@pytest.mark.parametrize("within_s", [-1.0, 0.0, 2.0, 5.0, 20.0, 300.0])
def test_all_are_closed_within_the_time_that_there_is(count: int, within_s: float) -> None:
    planned = times(count, within_s)
    assert len(planned) == count
    assert planned == sorted(planned)
    assert all(at >= 0.0 and (at == 0.0 or at + GRACE_S <= within_s) for at in planned)


def test_no_second_sees_more_leave_than_another() -> None:
    for count in (150, 1_000, 20_000):
        planned = times(count, 22.0)
        per_s = [sum(second <= at < second + 1 for at in planned) for second in range(int(planned[-1]))]
        assert max(per_s) - min(per_s) <= 1
        assert max(per_s) <= max(PER_S, count / (22.0 - GRACE_S) + 1)


def test_the_shortest_shutdown_has_just_the_time_to_tell_and_to_close() -> None:
    for prestop_s in (0.0, 5.0, 30.0):
        assert drain_s(shortest_shutdown_s(prestop_s), prestop_s) == pytest.approx(GRACE_S + END_S)
    assert shortest_shutdown_s(0.0) == GRACE_S + END_S + RESERVE_S


def test_a_shutdown_that_is_too_short_for_its_parts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_SHUTDOWN_S", "25")
    monkeypatch.setenv("CHAT_PRESTOP_S", "20")
    with pytest.raises(ConfigurationError, match=r"CHAT_SHUTDOWN_S is 25, and with CHAT_PRESTOP_S=20 .* at least 26"):
        read_settings(GatewaySettings)
    monkeypatch.setenv("CHAT_SHUTDOWN_S", "26")
    assert read_settings(GatewaySettings).drain_s == pytest.approx(3.5)


def test_ages_are_spread_over_the_last_fifth_below_the_cap_however_few_there_are() -> None:
    for count in (10, 1_000):
        ages = sorted(greatest_age_s(number, 100.0) for number in range(1, count + 1))
        assert 80.0 <= ages[0] < ages[-1] <= 100.0
        gaps = [later - earlier for earlier, later in pairwise(ages)]
        assert max(gaps) < 3 * 20.0 / count
