"""A revoked user or device is shut out: at the handshake, and on the connections that are open."""

import asyncio
import sys

import pytest

from tests.harness.cast import Cast
from tests.harness.handshake import handshake
from tests.harness.stack import Stack


async def chatctl(stack: Stack, *arguments: str) -> None:
    command = (sys.executable, "-m", "chatctl", "revoke", f"--dir={stack.folder}", *arguments)
    process = await asyncio.create_subprocess_exec(*command)
    async with asyncio.timeout(60):
        assert await process.wait() == 0


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
    _, *codes = await asyncio.gather(chatctl(stack, bob, *devices), *(one.expect_closed() for one in gone))
    assert codes == [4403] * len(gone)
    assert await answer_to(stack, bob, "phone") == (403, "revoked")
    if devices:
        assert await desk.settled() == []
    else:
        assert await answer_to(stack, bob, "a-new-one") == (403, "revoked")
    await chatctl(stack, bob, "--undo", *devices)
    await cast.online(bob, "phone")
