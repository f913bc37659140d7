"""A rolling restart of everything, one process after the other by SIGTERM, under load: nobody notices but the clients.

They lose nothing, no message is refused for longer than 2 s, and no second sees more than twice the reconnections that
the gateways planned. The figures are logged (`--log-cli-level=info`).
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

import pytest
from chatctl.verify.history import Connecting, GoneAway, History, Key, Observation, Refusal, Sent

from tests.conftest import MakeStack
from tests.e2e.scenery import Stage, size, stage
from tests.harness.stack import Stack

ORDER: Final = ("worker", "presence", "gateway")
"""As `docs/operations.md` rolls a release."""
RESTART_S: Final = 90.0
"""Deadline of a condition: a service stops within 12 s, and starts within a few."""
REFUSED_S: Final = 2.0
"""The promise: no message is refused for longer."""
AT_ONCE: Final = 2.0
"""The promise: times what was planned."""
ENDLESS: Final = 1 << 30

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Roll:
    """When one process was told to end, and when its successor was ready and all others too."""

    name: str
    begun_s: float
    ended_s: float


@pytest.mark.parametrize(
    ("users", "peers", "per_s"),
    [
        pytest.param(size("ROLLED_USERS", 24), 3, 60, id="few"),
        pytest.param(size("ROLLED_MANY", 1_500), 1, 1_000, id="many", marks=pytest.mark.slow),
    ],
)
async def test_a_rolling_restart_of_everything_loses_nothing_and_comes_as_no_storm(
    make_stack: MakeStack, users: int, peers: int, per_s: int
) -> None:
    system = await make_stack(gateways=2, workers=2, presence=2)
    async with stage(system, users=users, peers=peers) as scene:
        over = asyncio.Event()
        load = asyncio.create_task(scene.load(ENDLESS, per_s).run(until=over), name="load")
        try:
            await _until_it_flows(scene)
            rolls = [await _roll(system, name) for role in ORDER for name in _names(system, role)]
            over.set()
            messages = await load
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        await scene.judge(messages=messages, timeout_s=300.0)
        refused_s, length_s = longest_refusal_s(scene.history), rolls[-1].ended_s - rolls[0].begun_s
        log.info("%d messages, %.0f s of restarts, refused for %.1f s at most", messages, length_s, refused_s)
        assert refused_s <= REFUSED_S
        for roll in rolls:
            planned, most = planned_per_s(scene.history, roll), most_per_s(scene.history, roll)
            log.info("%s: %d reconnections in a second, planned were %.1f", roll.name, most, planned)
            assert most <= AT_ONCE * planned, f"{roll.name}: {most} in a second, planned were {planned:.1f}"


async def _until_it_flows(scene: Stage) -> None:
    async with asyncio.timeout(60):
        while sum(len(device.state.sent) for device in scene.devices) < len(scene.devices):
            await asyncio.sleep(0.05)


def _names(system: Stack, role: str) -> list[str]:
    return [process.name for process in system.processes() if process.role == role]


async def _roll(system: Stack, name: str) -> Roll:
    """End a process, and wait for its successor: the stack starts it."""
    before, begun_s = system.pid(name), monotonic()
    system.signal(name, signal.SIGTERM)
    async with asyncio.timeout(RESTART_S):
        while _pid(system, name) in (None, before) or await system.missing() is not None:
            await asyncio.sleep(0.1)
    return Roll(name, begun_s, monotonic())


def _pid(system: Stack, name: str) -> int | None:
    [pid] = [process.pid for process in system.processes() if process.name == name]
    return pid


def longest_refusal_s(history: History) -> float:
    """Tell for how long the message that was refused longest was not stored, from its first refusal on."""
    refused: dict[Key, float] = {}
    longest_s = 0.0
    for seen in history.observations:
        if isinstance(seen, Refusal) and not seen.final:
            refused.setdefault((seen.user, seen.peer, seen.id), seen.at_s)
        elif isinstance(seen, Sent) and (first_s := refused.pop((seen.user, seen.peer, seen.id), None)) is not None:
            longest_s = max(longest_s, seen.at_s - first_s)
    assert not refused, "a message that was refused was never stored"
    return longest_s


def planned_per_s(history: History, roll: Roll) -> float:
    """Tell how many clients a second were asked to come back elsewhere, by the times that they were given."""
    asked = [seen.after_ms / 1000 for seen in _within(history, roll) if isinstance(seen, GoneAway)]
    return len(asked) / max(1.0, max(asked, default=0.0))


def most_per_s(history: History, roll: Roll) -> int:
    """Tell how many connections were tried in the second that saw most."""
    tried = sorted(seen.at_s for seen in _within(history, roll) if isinstance(seen, Connecting))
    most = first = 0
    for place, at_s in enumerate(tried, 1):
        while tried[first] <= at_s - 1.0:
            first += 1
        most = max(most, place - first)
    return most


def _within(history: History, roll: Roll) -> Sequence[Observation]:
    return [seen for seen in history.observations if roll.begun_s <= seen.at_s <= roll.ended_s]
