"""One disturbance at a time, under load: a paused worker, an emptied Redis, cut subscriptions, paused stores."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from chatctl.faults.processes import held
from chatctl.verify.connection import RawConnection

from tests.e2e.scenery import Stage, size, stage
from tests.harness.cast import Cast
from tests.harness.system import ExtraService, MakeSystem, System, name_of_gateway

PAUSE_S = 20.0
PRESENCE_S = 15.0
"""G8: right again within 15 s; the deadline of a condition."""
MAX_SUBSCRIPTIONS = 200
SILENCE_S = 60.0
"""How long a gateway waits for a sign of life."""
READERS = 100


@dataclass(frozen=True, slots=True)
class Talk:
    """How many messages go through a disturbance: between each user and so many neighbours, so many a second."""

    messages: int = 2_400
    users: int = 16
    peers: int = 3
    per_s: int = 80


USUAL = Talk(messages=size("DISTURBED_MESSAGES", 2_400), users=size("DISTURBED_USERS", 16))
MUCH = Talk(messages=10_000, users=40, peers=5, per_s=250)
"""Over 200 conversations, as in the chaos of kills."""
MANY = Talk(messages=USUAL.messages, users=size("CROWD", 600), peers=1)
"""Each third user has a second device."""
BEFORE = 240
"""Messages that are sent before the disturbance begins, at most."""


async def _under_load(system: System, disturb: Callable[[Stage], Awaitable[None]], talk: Talk = USUAL) -> None:
    async with stage(system, users=talk.users, peers=talk.peers) as scene:
        load = asyncio.create_task(scene.load(talk.messages, talk.per_s).run(), name="load")
        try:
            await _until_sent(scene, min(BEFORE, talk.messages // 10))
            await disturb(scene)
            await load
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        await scene.judge(messages=talk.messages)


async def _until_sent(scene: Stage, count: int) -> None:
    async with asyncio.timeout(60):
        while sum(len(device.state.sent) for device in scene.devices) < count:
            await asyncio.sleep(0.05)


async def _pause(system: System, name: str, seconds: float) -> None:
    with held(system.pid(name)):
        await asyncio.sleep(seconds)  # the fault itself has this length


@pytest.mark.parametrize("name", ["worker-1", "gateway-1", "presence-1"])
async def test_nothing_is_lost_while_a_service_is_held_for_twenty_seconds(make_stack: MakeSystem, name: str) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)
    await _under_load(system, lambda _scene: _pause(system, name, PAUSE_S))


@pytest.mark.slow
async def test_a_gateway_held_for_longer_than_it_waits_for_its_clients_keeps_those_alive(
    make_stack: MakeSystem,
) -> None:
    system = await make_stack(gateways=2, workers=1, presence=1)
    async with Cast(system) as cast:
        readers = {name: await cast.online(name) for name in (cast.user(f"reader-{n}") for n in range(READERS))}
        with held(system.pid(name_of_gateway(system, cast.gateway(0)))):
            await _write_to_all(cast, readers, "meanwhile")
            await asyncio.sleep(SILENCE_S + 10)  # the fault itself has this length
        await asyncio.gather(*(_come(reader, "meanwhile") for reader in readers.values()))
        await _write_to_all(cast, readers, "afterwards")
        await asyncio.gather(*(_come(reader, "afterwards") for reader in readers.values()))


async def _write_to_all(cast: Cast, readers: Iterable[str], client_id: str) -> None:
    writer = await cast.online(cast.user(client_id), gateway=1)
    for name in readers:
        await writer.send({"type": "send", "id": client_id, "to": name, "body": "x"})
        await writer.expect("sent", id=client_id, peer=name)


async def _come(reader: RawConnection, client_id: str) -> None:
    """Wait for a message, live or in a sync."""
    async with asyncio.timeout(60):
        while True:
            frame = await reader.receive(timeout_s=60)
            if client_id in {message.get("id") for message in (frame, *frame.get("messages", ()))}:
                return


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "in_read"])
async def test_nothing_is_lost_when_a_worker_is_held_at_the_worst_points(
    make_stack: MakeSystem, tmp_path: Path, point: str
) -> None:
    system = await make_stack(gateways=2, workers=1, presence=1)
    command = ("-m", "tests.harness.pausing_worker", point)
    extra = await ExtraService.start(system, "worker-1", log=tmp_path / "extra.log", command=command)

    async def disturb(_scene: Stage) -> None:
        extra.signal(signal.SIGUSR1)
        await extra.wait_stopped()
        await asyncio.sleep(PAUSE_S)  # the fault itself has this length
        extra.signal(signal.SIGCONT)

    try:
        await extra.wait_ready()
        await _under_load(system, disturb, MUCH)
        extra.signal(signal.SIGTERM)
        assert await extra.exit_code() == 0, extra.log_tail()
    finally:
        await extra.kill()


@pytest.mark.parametrize("role", ["redis", "mysql"])
async def test_nothing_is_lost_while_a_store_is_held_for_ten_seconds(make_stack: MakeSystem, role: str) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)
    name = next(process.name for process in system.processes() if process.role == role)
    await _under_load(system, lambda _scene: _pause(system, name, 10.0))


async def _flush(system: System, times: int) -> None:
    redis = system.redis()
    try:
        for _ in range(times):
            await redis.flushall()
            await asyncio.sleep(2)
    finally:
        await redis.aclose()


@pytest.mark.parametrize("times", [1, 3])
async def test_nothing_is_lost_when_redis_is_emptied_and_presence_is_right_again(
    make_stack: MakeSystem, times: int
) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)

    async def disturb(scene: Stage) -> None:
        await _flush(system, times)
        await _presence_is_right(scene)

    await _under_load(system, disturb)


@pytest.mark.slow
async def test_nothing_is_lost_when_redis_is_emptied_under_many_connections(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)

    async def disturb(scene: Stage) -> None:
        await _flush(system, 3)
        await _presence_is_right(scene)

    await _under_load(system, disturb, MANY)


async def _presence_is_right(scene: Stage) -> None:
    """Ask until everybody who is connected is told online, and one who never was is not."""
    async with Cast(scene.cast.system) as cast:
        everybody = sorted({device.user for device in scene.devices})
        users, hermit = everybody[: MAX_SUBSCRIPTIONS - 1], cast.user("hermit")
        watcher = await cast.online(cast.user("watcher"))
        seen: dict[str, bool] = {}
        async with asyncio.timeout(PRESENCE_S):
            while seen != {**dict.fromkeys(users, True), hermit: False}:
                await watcher.send({"type": "presence_subscribe", "users": [*users, hermit]})
                for user in (*users, hermit):
                    seen[user] = (await watcher.expect("presence", user=user))["online"]


async def test_nothing_is_lost_when_every_subscription_is_cut(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)

    async def disturb(_scene: Stage) -> None:
        redis = system.redis()
        try:
            for _ in range(5):
                await redis.client_kill_filter(_type="pubsub")
                await asyncio.sleep(1)
        finally:
            await redis.aclose()

    await _under_load(system, disturb)


async def test_messages_flow_while_presence_is_down(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=2, workers=1, presence=1)
    with held(system.pid("presence-1")):
        async with Cast(system) as cast:
            alice, bob = cast.user("alice"), cast.user("bob")
            sender, recipient = await cast.online(alice), await cast.online(bob, gateway=1)
            await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
            await recipient.expect("message", seq=1)
            await recipient.send({"type": "read_ack", "peer": alice, "seq": 1})
            await sender.expect("receipt", user=bob, delivered=1, read=1)
