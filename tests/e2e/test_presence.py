"""Who is online, who went, who types, and who is told of it."""

import asyncio
import os
import signal
import sys

import pytest
from chatctl.verify.connection import NothingCame, RawConnection

from tests.harness.cast import Cast
from tests.harness.system import ROOT, MakeSystem, name_of_gateway

VISIBLE_S = 5.0
"""Deadline of a condition that PROTOCOL promises within 1 s; the machine that runs the tests may be busy."""
VANISH_S = 35.0 + VISIBLE_S
"""presence_ttl_s (30) + 5, and the same allowance."""

IDLE_S = 80.0
"""Several pings (10 s) and both sides of every deadline (30 s) of a device that says nothing by itself."""


async def _subscribe(connection: RawConnection, *users: str) -> None:
    await connection.send({"type": "presence_subscribe", "users": list(users)})


async def test_who_comes_and_goes_is_seen(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher = await cast.online(alice, gateway=0)
    await _subscribe(watcher, bob)
    first = await watcher.expect("presence", user=bob, online=False)
    assert first.get("last_seen") is None
    watched = await cast.online(bob, gateway=1)
    assert (await watcher.expect("presence", user=bob, online=True, timeout_s=VISIBLE_S)).get("last_seen") is None
    await watched.close()
    gone = await watcher.expect("presence", user=bob, online=False, timeout_s=VISIBLE_S)
    assert gone["last_seen"] > 0


async def test_a_subscription_tells_at_once_who_is_online(cast: Cast) -> None:
    alice, bob, carol = cast.user("alice"), cast.user("bob"), cast.user("carol")
    await cast.online(bob, gateway=1)
    watcher = await cast.online(alice)
    await _subscribe(watcher, bob, carol)
    await watcher.expect("presence", user=bob, online=True)
    await watcher.expect("presence", user=carol, online=False)


async def test_a_user_is_online_while_one_device_is(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    phone, laptop = await cast.online(bob, "phone"), await cast.online(bob, "laptop", gateway=1)
    watcher = await cast.online(alice)
    await _subscribe(watcher, bob)
    await watcher.expect("presence", user=bob, online=True)
    await phone.close()
    await laptop.close()
    await watcher.expect("presence", user=bob, online=False)
    assert watcher.untaken("presence") == []


async def test_only_subscribers_are_told(cast: Cast) -> None:
    alice, bob, carol = cast.user("alice"), cast.user("bob"), cast.user("carol")
    watcher, stranger = await cast.online(alice), await cast.online(carol)
    await _subscribe(watcher, bob)
    await watcher.expect("presence", user=bob)
    await cast.online(bob)
    await watcher.expect("presence", user=bob, online=True)
    assert await stranger.settled() == []


async def test_an_ended_subscription_tells_nothing_more(cast: Cast) -> None:
    alice, bob, carol = cast.user("alice"), cast.user("bob"), cast.user("carol")
    watcher = await cast.online(alice)
    await _subscribe(watcher, bob, carol)
    await watcher.expect("presence", user=bob)
    await watcher.expect("presence", user=carol)
    await watcher.send({"type": "presence_unsubscribe", "users": [bob]})
    await watcher.settled()
    await cast.online(bob)
    await cast.online(carol)
    await watcher.expect("presence", user=carol, online=True)
    assert watcher.untaken("presence") == []


async def test_a_line_cut_without_a_word_is_seen(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher, watched = await cast.online(alice), await cast.online(bob)
    await _subscribe(watcher, bob)
    await watcher.expect("presence", user=bob, online=True)
    watched.abort()
    await watcher.expect("presence", user=bob, online=False, timeout_s=VISIBLE_S)


async def test_a_device_that_vanished_is_offline_after_its_ttl(cast: Cast) -> None:
    """The device's process is held with SIGSTOP: its kernel keeps the socket open, and no pong ever comes."""
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher = await cast.online(alice)
    await _subscribe(watcher, bob)
    await watcher.expect("presence", user=bob, online=False)
    arguments = ("-m", "tests.harness.vanishing", cast.gateway(1), cast.system.token(bob), "phone")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    try:
        await watcher.expect("presence", user=bob, online=True)
        os.kill(process.pid, signal.SIGSTOP)
        await watcher.expect("presence", user=bob, online=False, timeout_s=VANISH_S)
    finally:
        process.kill()
        await process.wait()


async def test_an_idle_device_that_answers_pings_is_never_taken_for_gone(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    idle = cast.device(bob)
    idle.start()
    await idle.synced()
    watcher = await cast.online(alice)
    await _subscribe(watcher, bob)
    await watcher.expect("presence", user=bob, online=True)
    with pytest.raises(NothingCame):
        await watcher.expect("presence", user=bob, online=False, timeout_s=IDLE_S)
    assert idle.connections == 1


async def test_a_gateway_that_died_takes_its_devices_offline_after_their_ttl(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=2, workers=1, presence=1)
    async with Cast(system) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        watcher = await cast.online(alice, gateway=0)
        await cast.online(bob, gateway=1)
        await _subscribe(watcher, bob)
        await watcher.expect("presence", user=bob, online=True)
        dying = name_of_gateway(system, cast.gateway(1))
        system.signal(dying, signal.SIGKILL)
        await watcher.expect("presence", user=bob, online=False, timeout_s=VANISH_S)


async def test_typing_reaches_the_peers_online_devices_only(cast: Cast) -> None:
    alice, bob, carol = cast.user("alice"), cast.user("bob"), cast.user("carol")
    typist = await cast.online(alice)
    phone, laptop = await cast.online(bob, "phone"), await cast.online(bob, "laptop", gateway=1)
    stranger = await cast.online(carol)
    await typist.send({"type": "typing", "to": bob})
    await phone.expect("typing", peer=alice)
    await laptop.expect("typing", peer=alice)
    assert await stranger.settled() == []


async def test_subscriptions_past_the_limit_are_refused_and_the_others_stay(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher = await cast.connect(alice)
    limit = (await watcher.expect("welcome"))["limits"]["max_subscriptions"]
    await _subscribe(watcher, bob, *(f"nobody-{number}" for number in range(limit - 1)))
    for _ in range(limit):
        await watcher.expect("presence")
    await watcher.send({"type": "presence_subscribe", "users": [cast.user("one-more")], "ref": "s1"})
    await watcher.expect("error", code="overloaded", ref="s1")
    await cast.online(bob)
    await watcher.expect("presence", user=bob, online=True)
    await watcher.send({"type": "presence_unsubscribe", "users": ["nobody-0"]})
    await _subscribe(watcher, cast.user("one-more"))
    await watcher.expect("presence", user=cast.user("one-more"))


@pytest.mark.parametrize("times", [2, 5])
async def test_subscribing_again_tells_again(cast: Cast, times: int) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher = await cast.online(alice)
    for _ in range(times):
        await _subscribe(watcher, bob)
        await watcher.expect("presence", user=bob, online=False)
