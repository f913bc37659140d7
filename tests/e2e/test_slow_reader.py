"""A client that reads too slowly is closed and named, the gateway's memory stays flat, the others go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from chatctl.verify.connection import ConnectionClosed, RawConnection

from tests.harness.cast import Cast
from tests.harness.system import MakeSystem, System, resident_bytes

BODY = "z" * 16_000
MESSAGES = 800
"""12.8 MB a writer: beyond every buffer between two processes of one machine."""
WRITERS = 3
ROOM_BYTES = 48 * 1024 * 1024
"""What a gateway may grow by meanwhile: far below the 38 MB of each reader's messages that nobody takes, times 3."""


@asynccontextmanager
async def _flood(cast: Cast, victim: str) -> AsyncIterator[None]:
    """Write to a user from several others, until the block ends."""

    async def write(number: int) -> None:
        writer = cast.device(cast.user(f"writer-{number}"), window=50)
        writer.start()
        for count in range(MESSAGES):
            writer.send(victim, f"f{count}", BODY)
        await writer.until(lambda: not writer.state.outbox, what="the flood stands", timeout_s=120)

    jobs = [asyncio.create_task(write(number), name=f"writer-{number}") for number in range(WRITERS)]
    try:
        yield
        await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


def _gateway_bytes(system: System) -> int:
    pids = [process.pid for process in system.processes() if process.role == "gateway" and process.pid is not None]
    return sum(resident_bytes(pid) for pid in pids)


async def test_a_client_that_stops_reading_is_closed_and_nobody_else_notices(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    async with Cast(system) as cast:
        alice, bob, sloth = cast.user("alice"), cast.user("bob"), cast.user("sloth")
        stuck = await cast.online(sloth)
        sender, recipient = await cast.online(alice), await cast.online(bob)
        before = _gateway_bytes(system)
        async with _flood(cast, sloth):
            for number in range(1, 21):
                await sender.send({"type": "send", "id": f"m{number}", "to": bob, "body": "hi"})
                await recipient.expect("message", peer=alice, seq=number)
        assert _gateway_bytes(system) - before < ROOM_BYTES
        assert await stuck.expect_closed(timeout_s=60) in (4408, 1006)
        assert await sender.settled()
        assert await recipient.settled() == []


async def test_a_client_that_reads_too_slowly_is_closed_with_4408(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=1, workers=1, presence=1)
    async with Cast(system) as cast:
        sloth = cast.user("sloth")
        slow = await cast.online(sloth)
        async with _flood(cast, sloth):
            assert await _read_slowly(slow) == 4408


async def _read_slowly(slow: RawConnection) -> int:
    try:
        while True:
            await slow.receive(timeout_s=60)
            await asyncio.sleep(0.05)  # this is the slowness
    except ConnectionClosed as closed:
        return closed.code


async def test_who_was_closed_for_slowness_gets_everything_at_the_next_connection(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=2, workers=1, presence=1)
    async with Cast(system) as cast:
        sloth = cast.user("sloth")
        stuck = await cast.online(sloth)
        async with _flood(cast, sloth):
            pass
        with suppress(ConnectionClosed):
            await stuck.expect_closed(timeout_s=60)
        device = cast.device(sloth)
        device.start()
        peers = [cast.user(f"writer-{number}") for number in range(WRITERS)]
        await device.until(
            lambda: all(device.state.peer(peer).cursor == MESSAGES for peer in peers),
            what="not all came",
            timeout_s=120,
        )
