"""What waits ends: tasks that are told to end do, also one that a cancellation missed."""

import asyncio
from contextlib import suppress

from chatctl.verify.waiting import ended


async def test_a_task_that_lost_a_cancellation_is_ended_by_the_next() -> None:
    lost = 0

    async def loses_the_first() -> None:
        nonlocal lost
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(loses_the_first())
    await asyncio.sleep(0)
    await ended([task], again_s=0.01)
    assert lost == 1
    assert task.cancelled()


async def test_what_an_ended_task_raised_is_dropped() -> None:
    async def fails() -> None:
        raise RuntimeError("on its own")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await ended([task])
    assert isinstance(task.exception(), RuntimeError)
