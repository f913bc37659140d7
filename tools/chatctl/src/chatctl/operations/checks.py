"""Owns the look over a whole system: whether its stores keep what is promised, and whether everybody is there.

Every finding says what is wrong and what follows from it. It changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from chatcore.errors import StoreUnavailable

from chatctl.deployment import Deployment

State = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. A fault breaks a promise; a warning weakens the system."""

    state: State
    subject: str
    detail: str


def ok(subject: str, detail: str) -> Finding:
    """Say that it is as it should be."""
    return Finding("ok", subject, detail)


def warning(subject: str, detail: str) -> Finding:
    """Say what is weak, and what follows."""
    return Finding("warning", subject, detail)


def fault(subject: str, detail: str) -> Finding:
    """Say what breaks which promise."""
    return Finding("fault", subject, detail)


Look = Callable[[Deployment], Awaitable[list[Finding]]]
LOOK_S: Final = 20.0
"""Seconds for one group of looks: a store that hangs is a finding, not a command that hangs."""


async def check(deployment: Deployment, looks: dict[str, Look]) -> list[Finding]:
    """Look at everything, in the order given. A store that does not answer is a fault of its own."""
    found: list[Finding] = []
    for subject, look in looks.items():
        try:
            async with asyncio.timeout(LOOK_S):
                found += await look(deployment)
        except (StoreUnavailable, TimeoutError) as error:
            found.append(fault(subject, f"does not answer: {error or f'nothing within {LOOK_S:.0f} s'}"))
    return found
