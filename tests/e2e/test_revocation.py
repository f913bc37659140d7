"""A revoked user or device is shut out: at the handshake, and on the connections that are open."""

import asyncio
from typing import Any

import pytest

from tests.harness.cast import Cast
from tests.harness.command import chatctl
from tests.harness.handshake import handshake
from tests.harness.stack import Stack


async def revoke(stack: Stack, *arguments: str) -> dict[str, Any]:
    done = await chatctl("revoke", "--json", f"--dir={stack.folder}", *arguments)
    assert done.code == 0, done.err
    told: dict[str, Any] = done.json()
    return told


async def answer_to(stack: Stack, user: str, device: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {stack.token(user)}"}
    answer = await handshake(stack.gateways()[0], f"/v1/ws?device={device}", headers)
    return answer.status, answer.code


@pytest.mark.parametrize("devices", [["--device=phone"], []], ids=["device", "user"])
async def test_a_revocation_closes_what_is_open_and_holds_until_it_is_taken_back(
    cast: Cast, stack: Stack, devices: list[str]
) -> None:
    bob = cast.user("bob")
    phone, desk = await cast.online(bob, "phone"), await cast.online(bob, "desk", gateway=1)
    gone = [phone] if devices else [phone, desk]
    # A client that reads answers the close at once; one that does not is cut off 5 s later.
    told, *codes = await asyncio.gather(revoke(stack, bob, *devices), *(one.expect_closed() for one in gone))
    device = "phone" if devices else None
    assert told == {"user": bob, "device": device, "revoked": True, "connections": len(gone)}
    assert codes == [4403] * len(gone)
    assert await answer_to(stack, bob, "phone") == (403, "revoked")
    if devices:
        assert await desk.settled() == []
    else:
        assert await answer_to(stack, bob, "a-new-one") == (403, "revoked")
    undone = await revoke(stack, bob, "--undo", *devices)
    assert undone == {"user": bob, "device": device, "revoked": False, "connections": 0}
    await cast.online(bob, "phone")
