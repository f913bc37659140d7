"""The newest connection of a device wins, on one gateway and across gateways."""

import pytest

from tests.harness.cast import Cast


@pytest.mark.parametrize("gateways", [(0, 0), (0, 1)])
async def test_a_newer_connection_of_a_device_replaces_the_older_one(cast: Cast, gateways: tuple[int, int]) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    old = await cast.online(bob, gateway=gateways[0])
    new = await cast.online(bob, gateway=gateways[1])
    assert await old.expect_closed() == 4409
    sender = await cast.online(alice)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await new.expect("message", seq=1)


@pytest.mark.parametrize("gateways", [(0, 0), (0, 1)])
async def test_a_late_end_of_the_old_connection_does_not_evict_the_new_one(
    cast: Cast, gateways: tuple[int, int]
) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    watcher = await cast.online(alice)
    await watcher.send({"type": "presence_subscribe", "users": [bob]})
    await watcher.expect("presence", user=bob, online=False)
    old = await cast.online(bob, gateway=gateways[0])
    await watcher.expect("presence", user=bob, online=True)
    new = await cast.online(bob, gateway=gateways[1])
    assert await old.expect_closed() == 4409
    await old.close()
    await watcher.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await new.expect("message", seq=1)
    await watcher.send({"type": "presence_subscribe", "users": [bob]})
    await watcher.expect("presence", user=bob, online=True)
    assert all(frame["online"] for frame in watcher.untaken("presence"))


async def test_other_devices_and_other_users_are_not_replaced(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    laptop, hers = await cast.online(bob, "laptop"), await cast.online(alice, "phone")
    await cast.online(bob, "phone")
    await cast.online(bob, "phone", gateway=1)
    assert await laptop.settled() == []
    assert await hers.settled() == []
