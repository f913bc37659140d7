"""When a gateway takes its way through Redis for whole, with a clock and probes of the test's own."""

from typing import Any

import pytest
from chatcore.keys import Keys
from chatcore.redis_clock import RedisClock
from gateway.metrics import GatewayMetrics
from gateway.watch import CUT_S, LOST_S, MAX_MISSES, Watch
from prometheus_client import CollectorRegistry


class Bench:
    """A watch, and all that it talks to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.partitions = 1_000.0, 4
        self.told: list[str] = []
        monkeypatch.setattr("gateway.watch.monotonic", lambda: self.now)
        anybody: Any = self
        self.watch = Watch(
            lambda **_: anybody,
            keys=Keys(),
            gateway="g",
            outbox=anybody,
            reactions=anybody,
            max_backlog=1,
            metrics=GatewayMetrics(CollectorRegistry()),
            clock=RedisClock(),
        )
        self.watch._answering = True

    def unheard(self) -> None:
        self.told.append("unheard")

    def lost(self) -> None:
        self.told.append("lost")

    def regained(self) -> None:
        self.told.append("regained")

    def publish(self, *_: object, **__: object) -> None:
        """Stand for a pipeline's commands."""

    eval = hmget = publish

    def probe(self, *, heard: bool = True) -> None:
        """Publish a probe, and hear it."""
        anybody: Any = self
        self.watch._add_probe(anybody)
        if heard:
            self.watch.heard(str(self.watch._sent).encode())

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.watch._judge()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@pytest.fixture
def whole(bench: Bench) -> Bench:
    bench.watch.confirmed()
    bench.probe()
    assert bench.watch.missing() is None
    return bench


def test_a_subscription_counts_once_it_was_confirmed_and_heard(bench: Bench) -> None:
    bench.probe(heard=False)
    assert bench.watch.missing()
    bench.watch.confirmed()
    assert bench.watch.missing()
    bench.probe()
    assert bench.watch.missing() is None


def test_a_blip_that_is_over_within_a_second_is_none(whole: Bench) -> None:
    whole.watch.cut()
    whole.now += CUT_S * 0.4
    assert whole.watch.missing() is None
    whole.watch.confirmed()
    whole.now += CUT_S * 0.4
    whole.probe()
    whole.now += 60.0
    assert whole.watch.missing() is None


def test_a_broken_subscription_is_missing_after_a_second_and_until_it_is_confirmed_and_heard(whole: Bench) -> None:
    whole.watch.cut()
    whole.now += CUT_S
    assert whole.watch.missing() == "the subscription is not heard"
    whole.watch.confirmed()
    assert whole.watch.missing()
    whole.probe(heard=False)
    assert whole.watch.missing()
    whole.watch.heard(str(whole.watch._sent).encode())
    assert whole.watch.missing() is None


def test_a_subscription_that_breaks_again_and_again_has_no_new_second_each_time(whole: Bench) -> None:
    whole.watch.cut()
    for _ in range(4):
        whole.now += CUT_S * 0.3
        whole.watch.confirmed()
        whole.watch.cut()
    assert whole.watch.missing()


def test_a_probe_from_before_the_break_proves_nothing(whole: Bench) -> None:
    before = str(whole.watch._sent).encode()
    whole.watch.cut()
    whole.watch.confirmed()
    whole.watch.heard(before)
    whole.now += CUT_S
    assert whole.watch.missing()


def test_a_subscription_that_stands_and_tells_nothing_is_made_anew(whole: Bench) -> None:
    for _ in range(MAX_MISSES + 1):
        whole.probe(heard=False)
    whole.pass_by(10.0)
    assert whole.watch.missing()
    assert whole.told == ["unheard"]


def test_a_loss_is_told_once_and_so_is_its_end(whole: Bench) -> None:
    whole.pass_by(1.0)
    whole.watch.cut()
    for _ in range(5):
        whole.pass_by(LOST_S / 2)
    assert whole.told == ["lost"]
    whole.watch.confirmed()
    whole.pass_by(1.0)
    assert whole.told == ["lost"]
    whole.probe()
    for _ in range(3):
        whole.pass_by(1.0)
    assert whole.told == ["lost", "regained"]


def test_what_is_over_before_it_is_a_loss_is_not_told(whole: Bench) -> None:
    whole.pass_by(1.0)
    whole.watch.cut()
    whole.pass_by(LOST_S / 2)
    whole.watch.confirmed()
    whole.probe()
    whole.pass_by(LOST_S / 2)
    assert whole.told == []
