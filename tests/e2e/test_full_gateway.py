"""A gateway that is full, not ready or rate-limited says so before the upgrade, and when to come again."""

import asyncio

from chatctl.faults.processes import held

from tests.harness.cast import Cast
from tests.harness.handshake import Answer, handshake
from tests.harness.system import MakeSystem


async def _try(cast: Cast, user: str, device: str = "phone") -> Answer:
    headers: dict[str, str | None] = {"Authorization": f"Bearer {cast.system.token(user)}"}
    return await handshake(cast.gateway(0), f"/v1/ws?device={device}", headers)


async def test_a_full_gateway_refuses_and_takes_again_when_somebody_left(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=1, workers=1, environment={"CHAT_MAX_CONNECTIONS": "2"})
    async with Cast(system) as cast:
        first = await cast.online(cast.user("a"))
        second = await cast.online(cast.user("b"))
        answer = await _try(cast, cast.user("c"))
        assert (answer.status, answer.code) == (429, "too_many_connections")
        assert int(answer.headers["retry-after"]) > 0
        assert await second.settled() == []
        await first.close()
        async with asyncio.timeout(10):
            while (await _try(cast, cast.user("c"))).status != 101:
                await asyncio.sleep(0.1)


async def test_one_user_may_not_take_all_connections(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=1, workers=1, environment={"CHAT_CONNECTIONS_PER_USER": "2"})
    async with Cast(system) as cast:
        alice = cast.user("alice")
        phone = await cast.online(alice, "phone")
        await cast.online(alice, "laptop")
        answer = await _try(cast, alice, "tablet")
        assert (answer.status, answer.code) == (429, "too_many_connections")
        await cast.online(cast.user("bob"))
        assert await phone.settled() == []


async def test_a_gateway_without_its_redis_is_not_ready_and_takes_again_when_it_is_back(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=1, workers=1)
    async with Cast(system) as cast:
        redis = next(process.pid for process in system.processes() if process.role == "redis")
        assert redis is not None
        with held(redis):
            async with asyncio.timeout(30):
                while (answer := await _try(cast, cast.user("a"))).status == 101:
                    await asyncio.sleep(0.2)
            assert (answer.status, answer.code) == (503, "not_ready")
            assert int(answer.headers["retry-after"]) > 0
        await system.wait_ready(30)
        await cast.online(cast.user("b"))
