"""Owns waiting for a condition with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

LOOK_S: Final = 0.25
"""Seconds between two looks at a condition of other processes."""


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
