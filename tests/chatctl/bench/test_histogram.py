"""Latencies in buckets: percentiles within a bucket of the true ones, and sums without loss."""

import random

import pytest
from chatctl.bench.histogram import Histogram
from hypothesis import given
from hypothesis import strategies as st

DURATIONS = st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=200)


@given(DURATIONS, st.sampled_from([1, 50, 90, 99, 99.9, 100]))
def test_a_percentile_is_never_below_the_true_one_and_at_most_a_bucket_above(
    durations: list[float], percent: float
) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    microseconds = sorted(int(duration * 1e6) for duration in durations)
    rank = next(i for i in range(1, len(microseconds) + 1) if i >= len(microseconds) * percent / 100)
    true_us = microseconds[rank - 1]
    assert true_us / 1e3 <= histogram.percentile_ms(percent) + 1e-9
    assert histogram.percentile_ms(percent) <= max(true_us * 1.016, true_us + 1) / 1e3


def test_an_empty_histogram_says_zero() -> None:
    assert Histogram().percentile_ms(99) == 0


@given(DURATIONS, DURATIONS)
def test_what_two_processes_counted_adds_up_without_loss(one: list[float], other: list[float]) -> None:
    together, first, second = Histogram(), Histogram(), Histogram()
    for duration in one:
        first.record(duration)
        together.record(duration)
    for duration in other:
        second.record(duration)
        together.record(duration)
    first.add(Histogram.load(second.dump()))
    assert first.dump() == together.dump()


def test_a_small_and_a_large_range_lie_side_by_side() -> None:
    draw, histogram = random.Random(1), Histogram()
    for _ in range(10_000):
        histogram.record(draw.uniform(0.001, 0.002))
    for _ in range(50):
        histogram.record(3.0)
    assert histogram.percentile_ms(50) == pytest.approx(1.5, rel=0.03)
    assert histogram.percentile_ms(99.9) == pytest.approx(3_000, rel=0.016)
