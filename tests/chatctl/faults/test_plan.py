"""A plan is drawn from its seed alone, keeps to its time, and leaves room to breathe."""

import pytest
from chatctl.faults.kinds import KINDS
from chatctl.faults.plan import Plan, plan_of
from chatctl.faults.shape import Shape
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 10_000)
durations = st.floats(5, 900)


@given(seeds, durations)
def test_the_same_seed_gives_the_same_plan(seed: int, duration_s: float) -> None:
    assert plan_of(seed, duration_s) == plan_of(seed, duration_s)


def test_other_seeds_give_other_plans() -> None:
    assert len({plan_of(seed, 60) for seed in range(20)}) == 20


@given(seeds, durations)
def test_every_fault_begins_and_ends_within_the_plan_and_hits_what_there_is(seed: int, duration_s: float) -> None:
    shape = Shape(gateways=1, workers=3, presence=1)
    for fault in plan_of(seed, duration_s, shape=shape).faults:
        assert 0 <= fault.at_s <= fault.until_s < duration_s
        assert fault.target in KINDS[fault.kind].targets(shape)


@given(seeds, st.floats(60, 900))
def test_every_kind_has_its_turn(seed: int, duration_s: float) -> None:
    assert {fault.kind for fault in plan_of(seed, duration_s).faults} == set(KINDS)


def _free_share(plan: Plan) -> float:
    """Measure the share of the time in which nothing has begun that has not ended."""
    free_s, until_s = 0.0, 0.0
    for fault in plan.faults:
        free_s += max(0.0, fault.at_s - until_s)
        until_s = max(until_s, fault.until_s)
    return free_s / plan.duration_s


def test_about_a_quarter_of_a_long_plan_is_free_of_faults() -> None:
    shares = [_free_share(plan_of(seed, 600)) for seed in range(20)]
    assert 0.15 < sum(shares) / len(shares) < 0.4


def test_only_the_kinds_that_were_asked_for_come() -> None:
    assert {fault.kind for fault in plan_of(3, 60, ["kill", "redis_flush"]).faults} == {"kill", "redis_flush"}


def test_a_plan_without_kinds_is_empty() -> None:
    assert plan_of(3, 60, []).faults == ()


def test_a_kind_without_a_target_is_left_out() -> None:
    kinds = ["partition_presence_redis", "redis_flush"]
    assert {fault.kind for fault in plan_of(3, 60, kinds, shape=Shape(presence=0)).faults} == {"redis_flush"}


def test_a_kind_keeps_to_the_targets_that_it_was_named_with() -> None:
    faults = plan_of(3, 200, ["kill:worker", "pause_long:redis"]).faults
    assert {(fault.kind, fault.target) for fault in faults} == {
        ("kill", "worker-1"),
        ("kill", "worker-2"),
        ("pause_long", "redis"),
    }


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="meteor"):
        plan_of(1, 60, ["kill", "meteor"])
