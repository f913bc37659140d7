"""Presence in a Redis whose memory is full: it handles what was accepted, and takes nobody for gone (R5b, R11)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatcore.ids import ConnectionNumber, GatewayId, UserId
from chatcore.keys import Keys
from chatcore.presence import GAP_MS, RESUME_MS
from chatcore.redis_client import connect_to
from chatcore.stream import Subscribed
from presence import sweeper
from presence.devices import Devices, Tick
from presence.metrics import PresenceMetrics
from presence.sweeper import Sweeper
from prometheus_client import CollectorRegistry

from tests.presence.gateways import TTL_MS, Gateway, now_ms


@pytest.fixture
async def devices(redis: Any, presence_redis: str, keys: Keys) -> AsyncIterator[Devices]:
    metrics = PresenceMetrics(CollectorRegistry())
    one = Devices(connect_to(presence_redis), keys=keys, name="test", ttl_ms=TTL_MS, metrics=metrics)
    yield one
    await redis.config_set("maxmemory", 0)
    await one.close()


async def test_what_was_accepted_is_handled_in_a_full_redis(devices: Devices, gateway: Gateway) -> None:
    redis, keys = gateway.redis, gateway.keys
    member = await gateway.connect("bob")
    heard_ms = await now_ms(redis)
    await redis.config_set("maxmemory", 1)
    await devices.extend([("bob", member)], heard_ms + 60_000)
    assert await redis.zscore(keys.devices("bob"), member) == heard_ms + 60_000 + TTL_MS
    await devices.subscribe([(Subscribed(UserId("bob"), GatewayId(gateway.id), ConnectionNumber(0), None), heard_ms)])
    assert (await gateway.told())["online"] is True
    assert await redis.zscore(keys.deadlines, "bob") is not None


async def test_a_full_redis_is_known_by_a_write_that_changes_nothing(devices: Devices, gateway: Gateway) -> None:
    assert not await devices.full()
    await gateway.redis.config_set("maxmemory", 1)
    assert await devices.full()
    await gateway.redis.config_set("maxmemory", 0)
    assert not await devices.full()
    assert await gateway.redis.exists(gateway.keys.deadlines) == 0


class FillingDevices:
    """Devices over a clock that goes on by a second at each look; full at some of them."""

    def __init__(self, *, full_ms: range, end_ms: int) -> None:
        self.now = 0
        self.swept_at: list[int] = []
        self.ended = asyncio.Event()
        self._full_ms, self._end_ms = full_ms, end_ms

    async def tick(self, _most: int) -> Tick:
        self.now += 1_000
        if self.now >= self._end_ms:
            self.ended.set()
        return Tick(self.now, self.swept_at[-1] if self.swept_at else None, [])

    async def full(self) -> bool:
        return self.now in self._full_ms

    async def swept(self, now: int) -> None:
        self.swept_at.append(now)


@pytest.mark.parametrize("every_ms", [1_000, 2_000, 10_000])
async def test_nobody_is_swept_while_redis_takes_no_heartbeats_nor_before_they_could_come_again(
    monkeypatch: pytest.MonkeyPatch, every_ms: int
) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_S", 0)
    full = range(40_000, 80_001, every_ms)
    devices: Any = FillingDevices(full_ms=full, end_ms=120_000)
    leaves: list[int] = []
    one = Sweeper(
        devices=devices,
        behind=lambda: False,
        share=leaves.append,
        metrics=PresenceMetrics(CollectorRegistry()),
    )
    task = asyncio.create_task(one.run())
    await devices.ended.wait()
    task.cancel()
    held = range(full.start, full.stop + RESUME_MS - 1_000)
    assert [now for now in devices.swept_at if now in held] == []
    assert min(devices.swept_at) < full.start
    assert max(devices.swept_at) > held.stop
    assert max(until for until in leaves if until < full.stop) < full.start + GAP_MS
