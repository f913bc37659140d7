"""Metrics as a service declares them: zeros from the start, readings at the scrape, the library's own format."""

import pytest
from chatcore.instruments import Distribution, Readings, Tally, Totals
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_every_value_of_a_label_stands_at_zero_before_it_was_counted(registry: CollectorRegistry) -> None:
    tally = Tally("chat_ends", "Ends.", "why", ("good", "bad"), registry=registry)
    tally.counts["bad"] += 2
    assert registry.get_sample_value("chat_ends_total", {"why": "good"}) == 0
    assert registry.get_sample_value("chat_ends_total", {"why": "bad"}) == 2


def test_one_observation_may_stand_for_many(registry: CollectorRegistry) -> None:
    waits = Distribution("chat_wait_seconds", "Waits.", bounds=(1, 5), registry=registry)
    waits.observe(0.5, 3)
    waits.observe(5)
    waits.observe(60, 2)
    assert registry.get_sample_value("chat_wait_seconds_bucket", {"le": "1.0"}) == 3
    assert registry.get_sample_value("chat_wait_seconds_bucket", {"le": "5.0"}) == 4
    assert registry.get_sample_value("chat_wait_seconds_bucket", {"le": "+Inf"}) == 6
    assert registry.get_sample_value("chat_wait_seconds_count") == 6
    assert registry.get_sample_value("chat_wait_seconds_sum") == 126.5


def test_a_reading_is_taken_when_it_is_scraped(registry: CollectorRegistry) -> None:
    lengths = {"7": 1.0}
    Readings("chat_length", "Lengths.", "partition", registry=registry).read = lambda: lengths
    lengths["7"] = 4.0
    assert registry.get_sample_value("chat_length", {"partition": "7"}) == 4


def test_a_total_that_somebody_else_counts_is_a_counter(registry: CollectorRegistry) -> None:
    Totals("chat_busy_seconds", "Busy.", "kind", registry=registry).read = lambda: {"batches": 1.5}
    assert registry.get_sample_value("chat_busy_seconds_total", {"kind": "batches"}) == 1.5
    assert "# TYPE chat_busy_seconds_total counter\n" in generate_latest(registry).decode()


def test_a_name_is_declared_once(registry: CollectorRegistry) -> None:
    Tally("chat_ends", "Ends.", "why", ("good",), registry=registry)
    with pytest.raises(ValueError, match="chat_ends"):
        Tally("chat_ends", "Ends.", "why", ("good",), registry=registry)


def test_they_are_written_as_the_library_writes_its_own(registry: CollectorRegistry) -> None:
    Distribution("chat_wait_seconds", "Waits.", bounds=(0.5,), registry=registry).observe(0.25)
    text = generate_latest(registry).decode()
    assert "# TYPE chat_wait_seconds histogram\n" in text
    assert 'chat_wait_seconds_bucket{le="0.5"} 1.0\n' in text
