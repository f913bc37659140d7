"""Owns the trial of a client that does not read: users talk steadily, and one to whom they do stops, and reads on.

Everything but its reading is the same in both halves of a round, the large messages to it among that. It notes when
each half was; whether anybody was moved is the property's part.
"""

import asyncio
from random import Random
from typing import Any, Final, Self

from chatctl.verify.case import LAG_S
from chatctl.verify.connection import RawConnection
from chatctl.verify.device import BareDevice
from chatctl.verify.history import Half, History, Pair, pair_of
from chatctl.verify.population import bare_device, stopped
from chatctl.verify.system import System
from chatctl.verify.waiting import until

TALKERS: Final = 8
EVERY_S: Final = 0.01
"""Seconds between two sends, of whomever."""
TO_SLOTH: Final = (False, True, True, False, True)
"""Whether a turn of the talkers goes to the one who stalls, or each writes to a partner."""
BODY: Final = "s" * 12_000
"""What goes to the one who stalls: 0.7 MB/s."""
KERNEL_BYTES: Final = 32 * 1024
"""What the kernel of the one who stalls takes: left to itself, it would take all of it."""
LEAD_S: Final = 1.0
"""Seconds before each half in which the stalled client has stopped reading, or reads up, already: what the kernel, the
proxy and the client take is full by then, and the gateway has to keep the rest."""
HALF_S: Final = 1.0
"""Of what has to be kept then, the gateway still closes nobody as too slow: 1 MB is its bound."""
WARM_S: Final = 1.0
"""Seconds before the first half: the conversations begin."""
ROUNDS: Final = 5
"""Rounds in which the tool itself was not late: one hiccup of the machine must not decide."""
ROUNDS_MAX: Final = 12
"""Rounds after which it is enough, however late the tool was."""
ARRIVE_S: Final = 15.0
ANSWERED_S: Final = 15.0


def users_of(mark: str) -> list[str]:
    """Name the users of a run's trial; the first is the one who stops reading."""
    return [f"sloth-{mark}", *(f"talker-{number}-{mark}" for number in range(TALKERS))]


class _Narrow(RawConnection):
    """A connection of a client whose kernel keeps little of what it does not read."""

    @classmethod
    async def open(cls, *where: Any, **how: Any) -> Self:
        """Connect; raises what every connection does."""
        made = await super().open(*where, **how)
        made.narrow(KERNEL_BYTES)
        return made


class StallTrial:
    """One trial. Everybody in it comes for it, and goes with it."""

    def __init__(self, system: System, history: History, *, seed: int, mark: str) -> None:
        self._history = history
        self._random = Random(f"stall {seed}")  # noqa: S311 - a seed is to give the same again
        self._gateways = list(system.gateways)
        sloth, *talkers = users_of(mark)
        self._sloth = bare_device(system, history, sloth, "phone", connection=_Narrow)
        self._talkers = [bare_device(system, history, talker, "phone") for talker in talkers]
        self._begun = False

    @property
    def pairs(self) -> set[Pair]:
        """The conversations that there are since."""
        found = {pair_of(self._sloth.user, talker.user) for talker in self._talkers}
        found |= {pair_of(talker.user, self._partner(number).user) for number, talker in enumerate(self._talkers)}
        return found if self._begun else set()

    async def run(self) -> None:
        """Talk through the rounds, until everything is answered. Where somebody cannot come, there is no round."""
        self._begun = True
        devices = [self._sloth, *self._talkers]
        self._sloth.prefer(self._random.choice(self._gateways))
        for number, talker in enumerate(self._talkers):
            talker.prefer(self._gateways[number % len(self._gateways)])
        for device in devices:
            device.start()
        try:
            if await until(lambda: all(device.inbox.synced for device in devices), ARRIVE_S):
                await self._rounds()
            await until(lambda: not any(talker.state.outbox for talker in self._talkers), ANSWERED_S)
        finally:
            await asyncio.gather(*(stopped(device) for device in devices))

    async def _rounds(self) -> None:
        talking = asyncio.create_task(self._talk(), name="talk of the trial")
        try:
            await asyncio.sleep(WARM_S)
            sound = 0
            for _ in range(ROUNDS_MAX):
                begun_s = self._history.clock()
                for stalls in self._random.sample((True, False), 2):
                    await self._half(stalls=stalls)
                sound += not any(at_s >= begun_s and by_s >= LAG_S for at_s, by_s in self._history.lags)
                if sound == ROUNDS:
                    break
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    async def _half(self, *, stalls: bool) -> None:
        self._sloth.stall(begins=stalls)
        await asyncio.sleep(LEAD_S)
        begun_s = self._history.clock()
        await asyncio.sleep(HALF_S)
        self._history.halves.append(Half(begun_s, self._history.clock(), stalls=stalls))
        self._sloth.stall(begins=False)

    async def _talk(self) -> None:
        """Send one message after the other: in a turn each talker writes to its partner, or to the one who stalls."""
        clock = asyncio.get_running_loop().time
        due_s, count = clock(), 0
        while True:
            turn, number = divmod(count, TALKERS)
            to_sloth = TO_SLOTH[turn % len(TO_SLOTH)]
            peer, body = (self._sloth, BODY) if to_sloth else (self._partner(number), f"turn {turn}")
            self._talkers[number].send(peer.user, f"trial-{turn}", body)
            count, due_s = count + 1, due_s + EVERY_S
            await asyncio.sleep(due_s - clock())

    def _partner(self, number: int) -> BareDevice:
        return self._talkers[number ^ 1]
