"""The observer's looks: what waits in the streams, and which late recipients are still worth waiting for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatcore.delivery import Conversation, new_conversation, plan
from chatcore.errors import StoreUnavailable
from chatcore.ids import ConversationId, conversation_id
from chatcore.keys import Keys
from chatcore.redis_clock import RedisClock
from chatcore.stream import AckEvent, Event, Origin, SendEvent
from delivery_worker import observer as module
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.observer import ASK_S, LATE_S, Observer
from delivery_worker.undelivered import SILENT_S, Undelivered
from prometheus_client import CollectorRegistry

from tests.contracts.redis_worlds import TwinWorld

KEYS = Keys("chat")


class Scene:
    """An owner's observer on a twin of Redis. Time goes on by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        self.world = TwinWorld()
        self.redis: Any = self.world.client()
        self.registry = CollectorRegistry()
        self.undelivered = Undelivered()
        self.owned = frozenset({1, 2})
        self.states: dict[ConversationId, Conversation] = {}
        self.observer = Observer(
            lambda *, name, connections=4: self.world.client(connections=connections),
            keys=KEYS,
            worker="w1",
            clock=RedisClock(),
            undelivered=self.undelivered,
            metrics=WorkerMetrics(self.registry),
            owned=lambda: self.owned,
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"chat_worker_{name}", labels)

    def forgotten(self) -> dict[str, float]:
        reasons = ("offline", "silent", "full", "disowned")
        counts = {reason: self.value("undelivered_forgotten_total", reason=reason) or 0.0 for reason in reasons}
        return {reason: count for reason, count in counts.items() if count}

    async def connected(self, user: str, *, lives_s: float) -> None:
        """Enter a device; below 0 its deadline has passed."""
        seconds, _ = await self.redis.time()
        await self.redis.zadd(KEYS.devices(user), {f"phone|g1|7|{seconds}": (seconds + lives_s) * 1000})

    def tell(self, peer: str) -> None:
        """A message of alice was confirmed, and published to a peer who has a connection."""
        made = self._plan(peer, SendEvent(Origin("g1", 1, "alice", "phone"), peer, "c1", "hi"))
        assert self.undelivered.published([made], {"alice", peer}, self.now) == 0

    def acknowledge(self, peer: str) -> None:
        made = self._plan(peer, AckEvent(Origin("g1", 2, peer, "phone"), "alice", 1, 0))
        self.undelivered.acknowledged(made.states, self.now)

    def _plan(self, peer: str, event: Event) -> Any:
        conversation = conversation_id("alice", peer)
        before = self.states.get(conversation) or new_conversation("alice", peer)
        made = plan([(conversation, event)], {conversation: before}, 1)
        self.states |= made.states
        return made


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    one = Scene(monkeypatch)
    yield one
    await one.observer.close()


async def test_the_backlog_is_told_of_what_is_owned_and_of_nothing_else(scene: Scene) -> None:
    for partition, entries in {0: 5, 1: 3}.items():
        for _ in range(entries):
            await scene.redis.xadd(KEYS.inbox(partition), {"f": "x"})
    assert scene.value("backlog_entries", partition="1") is None
    await scene.observer.look()
    assert [scene.value("backlog_entries", partition=p) for p in ("0", "1", "2")] == [None, 3.0, 0.0]


async def test_the_backlog_of_a_partition_that_went_to_another_is_not_told_any_more(scene: Scene) -> None:
    await scene.observer.look()
    scene.owned = frozenset({2})
    assert [scene.value("backlog_entries", partition=p) for p in ("1", "2")] == [None, 0.0]


async def test_the_backlog_of_requests_is_told_by_a_worker_that_owns_nothing_too(scene: Scene) -> None:
    scene.owned = frozenset()
    await scene.redis.xadd(KEYS.sync, {"f": "x"})
    await scene.observer.look()
    assert scene.value("requests_backlog_entries") == 1.0


async def test_the_oldest_message_and_the_number_of_recipients_are_told_without_a_look(scene: Scene) -> None:
    assert (scene.value("undelivered_recipients"), scene.value("undelivered_age_seconds")) == (0.0, 0.0)
    scene.tell("bob")
    scene.now += 3.0
    scene.tell("carol")
    assert (scene.value("undelivered_recipients"), scene.value("undelivered_age_seconds")) == (2.0, 3.0)


async def test_a_recipient_is_not_asked_about_before_its_time(scene: Scene) -> None:
    scene.tell("bob")
    scene.now += ASK_S
    await scene.observer.look()
    assert (len(scene.undelivered), scene.forgotten()) == (1, {})


@pytest.mark.parametrize("lives_s", [None, -1.0])
async def test_a_recipient_without_a_live_connection_is_not_waited_for(scene: Scene, lives_s: float | None) -> None:
    if lives_s is not None:
        await scene.connected("bob", lives_s=lives_s)
    scene.tell("bob")
    scene.now += ASK_S + 1
    await scene.observer.look()
    assert (len(scene.undelivered), scene.forgotten()) == (0, {"offline": 1.0})
    assert scene.value("undelivered_late_recipients") == 0.0


async def test_a_connected_recipient_counts_as_late_after_ten_seconds_and_until_it_acknowledges(scene: Scene) -> None:
    await scene.connected("bob", lives_s=60)
    scene.tell("bob")
    for waited_s, late in ((LATE_S - 1, 0.0), (LATE_S, 1.0), (LATE_S + 100, 1.0)):
        scene.now = 1_000.0 + waited_s
        await scene.observer.look()
        assert scene.value("undelivered_late_recipients") == late
    scene.acknowledge("bob")
    await scene.observer.look()
    assert (scene.value("undelivered_late_recipients"), scene.forgotten()) == (0.0, {})


async def test_a_connected_recipient_that_stays_silent_is_given_up_in_the_end(scene: Scene) -> None:
    await scene.connected("bob", lives_s=60)
    scene.tell("bob")
    scene.now += SILENT_S - 1
    await scene.observer.look()
    assert scene.value("undelivered_late_recipients") == 1.0
    scene.now += 1
    await scene.observer.look()
    assert (len(scene.undelivered), scene.forgotten()) == (0, {"silent": 1.0})
    assert scene.value("undelivered_late_recipients") == 0.0


async def test_each_look_asks_about_the_oldest_and_about_no_more_than_it_may(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    for peer in ("bob", "carol", "dave"):
        scene.tell(peer)
        scene.now += 1.0
    scene.now += LATE_S
    await scene.observer.look()
    assert (scene.value("undelivered_recipients"), scene.forgotten()) == (1.0, {"offline": 2.0})
    assert scene.value("undelivered_age_seconds") == LATE_S + 1
    await scene.observer.look()
    assert scene.value("undelivered_recipients") == 0.0


async def test_while_redis_is_away_the_last_look_stands_and_looking_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0)
    await scene.redis.xadd(KEYS.inbox(1), {"f": "x"})
    await scene.observer.look()
    scene.world.server.stop(lose=True)
    with pytest.raises(StoreUnavailable):
        await scene.observer.look()
    assert scene.value("backlog_entries", partition="1") == 1.0
    running = asyncio.create_task(scene.observer.run())
    scene.world.server.start()
    async with asyncio.timeout(20):
        while scene.value("backlog_entries", partition="1") != 0.0:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
