"""Redis's memory is full: sends are refused with a reason, and it empties itself as soon as it can (R5b)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest
from chatctl.faults.processes import held
from chatctl.verify.connection import Refused
from redis.exceptions import OutOfMemoryError

from tests.e2e.scenery import Stage, stage
from tests.harness.cast import Cast
from tests.harness.owners import owners, settled_owners
from tests.harness.system import MakeSystem, System

ROOM_BYTES: Final = 600_000
"""Of memory beyond what is used: a fraction of what the load's messages take while nobody settles them."""
BELOW_BYTES: Final = ROOM_BYTES // 4
"""By so much the limit ends below what is used: as buffers come and go, Redis would take a little at times."""
BODY: Final = "x" * 8_000
PER_LANE: Final = 6
WITHIN_S: Final = 60.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await holds():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def little_room(system: System) -> AsyncIterator[Any]:
    """Leave Redis little room, for good; gives a client that may do everything."""
    redis = system.redis()
    try:
        await limit(redis, ROOM_BYTES)
        yield redis
    finally:
        await redis.aclose()


async def limit(redis: Any, room_bytes: int) -> None:
    """Set `maxmemory` to so much more than is used."""
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", used + room_bytes)


async def is_full(redis: Any) -> bool:
    try:
        await redis.set("room", b"")
    except OutOfMemoryError:
        return True
    return False


async def fill(redis: Any) -> None:
    """Take what room there is. It comes and goes by itself as well, with the buffers of clients."""
    while not await is_full(redis):
        with suppress(OutOfMemoryError):  # it filled meanwhile
            await redis.append("foreign", b"x" * 10_000)


async def now_ms(redis: Any) -> int:
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def last_beat_ends(redis: Any) -> float:
    """Give when the worker that beat last is dead to the others, in ms of Redis's clock."""
    [(_, deadline)] = await redis.zrange("chat:workers", -1, -1, withscores=True)
    return float(deadline)


def write(scene: Stage) -> int:
    """Hand every device more than Redis has room for; gives the number of messages."""
    for device, peer in scene.lanes:
        for number in range(PER_LANE):
            device.send(peer, f"{device.device}-{peer}-{number}", BODY)
    return len(scene.lanes) * PER_LANE


@pytest.mark.parametrize("role", ["worker", "mysql"])
async def test_a_redis_that_filled_while_nothing_was_settled_empties_itself_and_everybody_converges(
    make_stack: MakeSystem, role: str
) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)
    pids = [process.pid for process in system.processes() if process.role == role and process.pid is not None]
    async with stage(system, users=20, peers=4) as scene, little_room(system) as redis:
        with held(*pids):
            messages = write(scene)
            await until(lambda: is_full(redis))
            dead_at = await last_beat_ends(redis)

            async def nobody_beats() -> bool:
                return await now_ms(redis) > dead_at >= await last_beat_ends(redis)

            await until(nobody_beats)
            await until(lambda: is_full(redis))
            await limit(redis, -BELOW_BYTES)
        await scene.judge(messages=messages)
        assert not await is_full(redis)


@pytest.mark.parametrize("refilled", [True, False], ids=["always full", "with room at times"])
async def test_while_something_else_fills_redis_the_system_stands_by_and_goes_on_when_it_is_gone(
    make_stack: MakeSystem, *, refilled: bool
) -> None:
    system = await make_stack(gateways=1, workers=2, presence=1)
    async with Cast(system) as cast, little_room(system) as redis:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender, recipient = await cast.online(alice), await cast.online(bob)
        await recipient.send({"type": "presence_subscribe", "users": [alice]})
        await recipient.expect("presence", user=alice, online=True)
        owned = await settled_owners(system, workers=2)
        await fill(redis)
        await limit(redis, -BELOW_BYTES)
        beats_until = await last_beat_ends(redis) + 40_000
        await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
        error = await sender.expect("error", ref="c1")
        assert error["code"] in ("unavailable", "overloaded")
        assert error["retry_after_ms"] > 0
        with pytest.raises(Refused) as refused:
            await cast.connect(cast.user("carol"))
        assert refused.value.status == 503
        assert "Retry-After" in refused.value.headers

        async def beaten_on() -> bool:
            if refilled:
                await fill(redis)
            for connection in (sender, recipient):
                await connection.send({"type": "ping"})
                await connection.expect("pong")
            return await last_beat_ends(redis) > beats_until

        await until(beaten_on)  # longer than a member and a gateway's key live without a heartbeat
        await system.wait_ready(WITHIN_S)
        await redis.delete("foreign")
        await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
        await sender.expect("sent", id="c1", seq=1)
        await recipient.expect("message", seq=1)
        await recipient.send({"type": "delivery_ack", "peer": alice, "seq": 1})
        await sender.expect("receipt", user=bob, delivered=1)
        assert recipient.untaken("presence") == [], "alice never went"
        assert await owners(system) == owned, "nobody had to take over"
        await cast.online(cast.user("carol"))
