"""Owns waiting for a condition with a deadline, and for tasks to end that are told to."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

LOOK_S: Final = 0.25
"""Seconds between two looks at a condition of other processes."""
AGAIN_S: Final = 5.0
"""Seconds for a cancelled task to clean up before it is cancelled again."""


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within_s: float, *, look_s: float = LOOK_S
) -> bool:
    """Wait until a condition holds; says whether it did in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while True:
                holds = condition()
                if await holds if isinstance(holds, Awaitable) else holds:
                    return True
                await asyncio.sleep(look_s)
    return False


async def ended(tasks: Collection["asyncio.Task[None]"], *, again_s: float = AGAIN_S) -> None:
    """Cancel tasks until all have ended; what they raise is dropped.

    Once may be too little: redis-py writes under `asyncio.wait_for`, which on Python 3.11 gives its result instead when
    the cancellation comes just as that is there, and the task goes on for ever.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=again_s)
    await asyncio.gather(*tasks, return_exceptions=True)
