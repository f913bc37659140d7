"""The service on a real Redis, as gateways see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from chatcore.ids import ConnectionNumber, UserId
from chatcore.keys import PRESENCE_GROUP, Keys
from chatcore.lifecycle import Supervisor
from chatcore.push import Kind
from chatcore.stream import FIELD, Subscribed, TypingSeen
from presence.app import PresenceApp
from presence.settings import PresenceSettings

from tests.presence.gateways import Gateway, now_ms


class Replica:
    """A running replica."""

    def __init__(self, app: PresenceApp) -> None:
        self.app = app
        self.supervisor = Supervisor()

    async def stop(self) -> None:
        self.supervisor.close()
        for step in self.app.shutdown():
            await step.run()


Start = Callable[[], Awaitable[Replica]]


@pytest.fixture
async def start(redis: Any, presence_redis: str, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts replicas."""
    monkeypatch.setattr("chatcore.vitals.Vitals.settle", lambda _: None)  # the collector is the test run's
    replicas: list[Replica] = []

    async def make() -> Replica:
        settings = PresenceSettings(name="presence", redis_url=presence_redis, key_prefix=keys.prefix)
        replica = Replica(PresenceApp(settings))
        replicas.append(replica)
        await replica.app.start(replica.supervisor)
        return replica

    yield make
    for replica in replicas:
        await replica.stop()


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - the condition lies in Redis
            await asyncio.sleep(0.02)


async def sweeping(redis: Any, keys: Keys) -> None:
    """Somebody swept a moment ago: no gap."""
    await redis.set(keys.swept, await now_ms(redis), px=60_000)


async def test_a_subscriber_is_told_who_comes_and_who_goes(gateway: Gateway, start: Start) -> None:
    await start()
    await gateway.subscribe("bob", 7, "s1")
    frame = {"type": "presence", "user": "bob", "online": False, "last_seen": None, "ref": "s1"}
    assert await gateway.hear() == (Kind.FRAME, 7, frame)
    member = await gateway.connect("bob")
    assert await gateway.told() == {"type": "presence", "user": "bob", "online": True, "last_seen": None}
    before = await now_ms(gateway.redis)
    await gateway.disconnect("bob", member)
    gone = await gateway.told()
    assert gone["online"] is False
    assert before <= gone["last_seen"] <= await now_ms(gateway.redis)
