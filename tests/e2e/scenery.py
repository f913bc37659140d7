"""Owns the stage of the fault tests: users in a ring, their devices, the load, and the judgement at its end."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

from chatctl.verify.device import BareDevice
from chatctl.verify.final_state import FinalState
from chatctl.verify.history import History, Pair

from tests.harness.cast import CONVERGE_S, Cast
from tests.harness.faults import Load, ring
from tests.harness.system import System

SEED: Final = int(os.environ.get("CHAT_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
"""Which faults happen; a failing test names it, and setting it repeats them."""


def size(name: str, usual: int) -> int:
    """Return a size of a fault test: `CHAT_TEST_<NAME>`, or the usual one."""
    return int(os.environ.get(f"CHAT_TEST_{name}", usual))


@dataclass(slots=True)
class Stage:
    """Users who talk with each other, each with a phone, every third with a laptop too."""

    cast: Cast
    history: History
    devices: list[BareDevice]
    pairs: list[Pair]
    lanes: list[tuple[BareDevice, str]]

    @classmethod
    def build(cls, system: System, *, users: int, peers: int) -> Self:
        """Make the users of a ring and their devices; nobody is online yet."""
        cast, history = Cast(system), History()
        names = [cast.user(f"u{number}") for number in range(users)]
        phones = {name: cast.device(name, "phone", history=history, window=8) for name in names}
        laptops = [cast.device(name, "laptop", history=history, window=8) for name in names[::3]]
        pairs = [(names[one], names[other]) for one, other in ring(users, peers)]
        lanes = [lane for one, other in pairs for lane in ((phones[one], other), (phones[other], one))]
        random.Random(SEED).shuffle(lanes)
        return cls(cast, history, [*phones.values(), *laptops], pairs, lanes)

    async def arrive(self) -> None:
        """Bring every device online."""
        for device in self.devices:
            device.start()
        await asyncio.gather(*(device.synced(timeout_s=60) for device in self.devices))

    def load(self, messages: int, per_s: float) -> Load:
        """Return a load over all conversations, in both directions."""
        return Load(self.lanes, messages, per_s)

    async def judge(self, *, messages: int, timeout_s: float = CONVERGE_S) -> FinalState:
        """Wait for convergence, then hold every promise against what happened."""
        final = await self.cast.converge(self.pairs, self.devices, self.history, timeout_s=timeout_s)
        assert sum(len(log) for log in final.logs.values()) == messages
        return final


@asynccontextmanager
async def stage(system: System, *, users: int, peers: int) -> AsyncIterator[Stage]:
    """Set a stage with everybody online, and clear it however the test ends."""
    made = Stage.build(system, users=users, peers=peers)
    async with made.cast:
        await made.arrive()
        yield made
