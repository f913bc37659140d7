"""SIGTERM under load: a service drains in order, loses nothing, and ends with code 0."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.conftest import MakeStack
from tests.e2e.scenery import Stage, size, stage
from tests.harness.cast import Cast
from tests.harness.command import chatctl
from tests.harness.handshake import handshake
from tests.harness.stack import Stack
from tests.harness.system import ExtraService, MakeSystem

DRAIN_S = 40.0
"""Deadline of a condition: CHAT_SHUTDOWN_S is below it."""


async def _drained(scene: Stage, extra: ExtraService, messages: int) -> int:
    load = asyncio.create_task(scene.load(messages, 100).run(), name="load")
    try:
        async with asyncio.timeout(60):
            while sum(len(device.state.sent) for device in scene.devices) < messages // 5:
                await asyncio.sleep(0.05)
        extra.signal(signal.SIGTERM)
        code = await extra.exit_code(DRAIN_S)
        await load
        return code
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


@pytest.mark.parametrize("like", ["gateway-1", "worker-1", "presence-1"])
async def test_sigterm_under_load_loses_nothing_and_ends_with_code_0(
    make_stack: MakeSystem, tmp_path: Path, like: str
) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    messages = size("DRAINED_MESSAGES", 1_500)
    extra = await ExtraService.start(system, like, log=tmp_path / "extra.log")
    try:
        await extra.wait_ready()
        async with stage(system, users=16, peers=3) as scene:
            if like.startswith("gateway"):
                await _move_to(scene, extra.url)
            assert await _drained(scene, extra, messages) == 0, extra.log_tail()
            await scene.judge(messages=messages)
    finally:
        await extra.kill()


async def _move_to(scene: Stage, url: str) -> None:
    """Make every second device live on the gateway that will drain; where it is gone they find another."""
    for device in scene.devices[::2]:
        await device.stop()
        device.prefer(url)
        device.start()
        await device.synced()


async def test_a_draining_gateway_says_goaway_and_closes_with_1012(make_stack: MakeSystem, tmp_path: Path) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    extra = await ExtraService.start(system, "gateway-1", log=tmp_path / "extra.log")
    try:
        await extra.wait_ready()
        async with Cast(system) as cast:
            connection = await cast.connect_to(extra.url, cast.user("alice"))
            await connection.expect("welcome")
            await connection.sync()
            extra.signal(signal.SIGTERM)
            goaway = await connection.expect("goaway", reason="draining")
            assert goaway["reconnect_after_ms"] >= 0
            headers: dict[str, str | None] = {"Authorization": f"Bearer {system.token(cast.user('late'))}"}
            answer = await handshake(extra.url, "/v1/ws?device=phone", headers)
            assert (answer.status, answer.code) == (503, "draining")
            assert int(answer.headers["retry-after"]) > 0
            await connection.send(
                {"type": "send", "id": "late", "to": cast.user("bob"), "body": "it works until it closes"}
            )
            await connection.expect("sent", id="late")
            assert await connection.expect_closed(timeout_s=DRAIN_S) == 1012
            assert await extra.exit_code(DRAIN_S) == 0, extra.log_tail()
    finally:
        await extra.kill()


async def test_a_gateway_that_is_drained_by_hand_leaves_in_order_and_the_others_stay(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    extra = await ExtraService.start(system, "gateway-1", log=tmp_path / "extra.log")
    try:
        await extra.wait_ready()
        async with Cast(system) as cast:
            stays = await cast.online(cast.user("alice"))
            goes = await cast.connect_to(extra.url, cast.user("bob"))
            await goes.expect("welcome")
            await goes.sync()
            command = asyncio.create_task(chatctl("drain", "gateway-1-extra", "--json", f"--dir={system.folder}"))
            await goes.expect("goaway", reason="draining")
            assert await goes.expect_closed(timeout_s=DRAIN_S) == 1012
            done = await command
            assert (done.code, done.json()["gateway"].rpartition(".")[0]) == (0, "gateway-1-extra"), done.err
            assert await extra.exit_code(DRAIN_S) == 0, extra.log_tail()
            assert await stays.settled() == []
    finally:
        await extra.kill()


async def test_a_gateway_that_nobody_knows_is_named_beside_those_that_live(stack: Stack) -> None:
    done = await chatctl("drain", "gateway-9", f"--dir={stack.folder}")
    assert done.code == 1
    assert "no gateway is called gateway-9" in done.err
    assert "gateway-1." in done.err
    assert "gateway-2." in done.err


async def test_a_gateway_that_does_not_leave_in_time_is_told_so(make_stack: MakeStack, tmp_path: Path) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    extra = await ExtraService.start(
        system,
        "gateway-1",
        log=tmp_path / "extra.log",
        environment={"CHAT_PRESTOP_S": "60", "CHAT_SHUTDOWN_S": "70"},
    )
    try:
        await extra.wait_ready()
        done = await chatctl("drain", "gateway-1-extra", "--within=0.5", f"--dir={system.folder}")
        assert done.code == 1
        assert "is still there" in done.err
    finally:
        await extra.kill()
