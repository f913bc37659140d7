"""What `check` says of clocks: who is off, by how much, and whether something is decided wrongly by it."""

import pytest
from chatctl.operations.check_clocks import GATEWAY_FAULT_S, HERE, MYSQL_FAULT_S, judge

NEAR = {HERE: 0.1, "mysql": -0.2, "gateway-1.aa": -0.04, "gateway-2.bb": 0.3}


def test_clocks_that_are_near_each_other_are_all_named() -> None:
    found = judge(NEAR)
    assert (found.state, found.subject) == ("ok", "clocks")
    assert found.detail == ("this machine +0.1 s, mysql -0.2 s, gateway-1.aa +0.0 s, gateway-2.bb +0.3 s from Redis's")


@pytest.mark.parametrize(("name", "most_s"), [("gateway-2.bb", GATEWAY_FAULT_S), ("mysql", MYSQL_FAULT_S)])
@pytest.mark.parametrize("sign", [1, -1], ids=["ahead", "behind"])
def test_one_that_is_off_is_named_alone_with_how_much_it_is(name: str, most_s: float, sign: int) -> None:
    within, past = judge({**NEAR, name: sign * (most_s - 1)}), judge({**NEAR, name: sign * (most_s + 1)})
    assert (within.state, past.state) == ("warning", "fault")
    assert within.detail == f"{name} {sign * (most_s - 1):+.1f} s from Redis's: run NTP everywhere"
    assert past.detail.startswith(f"{name} {sign * (most_s + 1):+.1f} s from Redis's: tokens expire")


def test_a_machine_whose_clock_decides_nothing_is_no_fault() -> None:
    assert judge({**NEAR, HERE: 3_600}).state == "warning"


def test_redis_itself_is_named_where_all_others_agree() -> None:
    found = judge({name: seconds + 40 for name, seconds in NEAR.items()})
    assert found.state == "fault"
    assert "so it is Redis's own that is off" in found.detail


def test_redis_is_not_blamed_for_two_who_are_off_in_different_ways() -> None:
    assert "Redis's own" not in judge({HERE: 40, "mysql": -40}).detail
