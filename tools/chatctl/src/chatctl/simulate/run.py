"""Owns one run: a virtual minute of a whole system from one seed, and its verdict.

The course: everybody connects; faults and people, until `END_S`; then only people who are gentle; then silence; then
the judge.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from chatctl.simulate.calls import Calls
from chatctl.simulate.clients import Crowd
from chatctl.simulate.clocks import virtual
from chatctl.simulate.ending import Ending
from chatctl.simulate.event_loop import VirtualLoop
from chatctl.simulate.faults import END_S, Faults
from chatctl.simulate.judge import Inside, violations
from chatctl.simulate.services import ROLES, Compose
from chatctl.simulate.trace import Trace
from chatctl.simulate.watch import Fence, Settlements
from chatctl.simulate.world import World
from chatctl.verify.connection import ConnectionClosed, Refused
from chatctl.verify.history import History

PLACES: Final = {
    "gateway-1": "gateway",
    "gateway-2": "gateway",
    "worker-1": "worker",
    "worker-2": "worker",
    "presence-1": "presence",
    "presence-2": "presence",
}
READY_S: Final = 2.0
AWAY_S: Final = 6.0
"""When the late device leaves."""
SILENT_S: Final = 44.5
BACK_S: Final = 48.5
"""When it comes back."""
TOTAL_S: Final = 60.0
UNREADABLE: Final = (OSError, Refused, TimeoutError, ConnectionClosed, AssertionError)


@dataclass(slots=True)
class Verdict:
    """What came of a seed."""

    seed: str
    digest: str = ""
    violations: list[str] = field(default_factory=list)
    messages: int = 0
    faults: int = 0
    calls: int = 0
    """Single calls that went wrong."""
    turns: int = 0


def run_seed(seed: str, *, tell: Callable[[str], None] | None = None, roles: Mapping[str, Compose] = ROLES) -> Verdict:
    """Run one seed, from nothing to its verdict. It leaves nothing behind."""
    loop = VirtualLoop(Random(f"{seed}/order"))  # noqa: S311 - a seed is to give the same again
    run = _Run(loop, seed, tell=tell, roles=roles)
    loop.set_exception_handler(run.failed)
    gc.disable()
    try:
        with virtual(run.world), _server_errors(run.told):
            verdict = loop.run_until_complete(run.course())
            loop.run_until_complete(run.clear_up())
    finally:
        loop.close()
        gc.enable()
    return verdict


@contextmanager
def _server_errors(tell: Callable[[str], None]) -> Iterator[None]:
    """Hear what aiohttp's server would write into a log: the failure of a handler."""
    logger, handler = logging.getLogger("aiohttp.server"), logging.Handler()
    handler.emit = lambda record: tell(record.getMessage())  # type: ignore[method-assign]  # a handler in one line
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


class _Run:
    def __init__(
        self, loop: VirtualLoop, seed: str, *, tell: Callable[[str], None] | None, roles: Mapping[str, Compose]
    ) -> None:
        self.loop, self.seed = loop, seed
        self.history = History(clock=loop.time)
        self.errors: list[str] = []
        self._over = False
        self._faults: Faults | None = None
        self.world = World(
            loop, seed, places=PLACES, trouble=self._make_faults, roles=roles, trace=Trace(loop.time, tell)
        )

    def _make_faults(self, world: World) -> Calls:
        self._faults = Faults(world, self.history)
        return self._faults.calls

    def failed(self, _: Any, context: dict[str, Any]) -> None:
        """Nothing may fail unheard."""
        self.told(f"{context.get('message')}: {context.get('exception')!r}")

    def told(self, what: str) -> None:
        """Note a failure; what ends in the end of all may fail."""
        if not self._over:
            self.errors.append(what)

    async def course(self) -> Verdict:
        """Go through the minute."""
        faults = self._faults
        assert faults is not None  # noqa: S101 - the world made it
        for name in self.world.places:
            self.world.start(name)
        inside = Inside(Settlements(self.world), Fence(self.world))
        await self._until(READY_S)
        crowd = Crowd(self.world, self.history)
        faults.cut_clients = crowd.cut_all
        self.history.begun_s = self.loop.time()
        crowd.begin()
        planned, strikes = faults.plan()
        for fault in planned:
            self.loop.call_at(fault.at_s, faults.begin, fault)
        for strike in strikes:
            self.loop.call_at(strike.at_s, faults.calls.arm, strike)
        self.loop.call_at(AWAY_S, lambda: self.world.trace.note("late away"))
        await self._until(AWAY_S)
        await crowd.send_late_away()
        await self._until(END_S)
        faults.end_all()
        for place in self.world.places.values():
            self.world.start(place.name)
        crowd.calm_down()
        await self._ready()
        ending = Ending(self.world, crowd, self.history)
        await self._until(SILENT_S)
        await crowd.fall_silent()
        await self._until(BACK_S)
        crowd.late.start()
        await self._until(TOTAL_S)
        found = await self._judged(ending, inside)
        found += [f"a device gave up: {why}" for why in [*await crowd.stop(), *await ending.stop()]]
        return self._verdict(found, len(planned), faults.calls.struck.total())

    async def _judged(self, ending: Ending, inside: Inside) -> list[str]:
        try:
            reading = await ending.read()
        except UNREADABLE as error:
            return [f"the end could not be read back: {type(error).__name__}: {error}"]
        return violations(self.world, self.history, inside, reading)

    def _verdict(self, found: list[str], faults: int, calls: int) -> Verdict:
        found += [f"a service ended by itself: {why}" for why in self.world.deaths]
        found += [f"failed unheard: {error}" for error in self.errors]
        for item in self.history.observations:
            self.world.trace.note("saw", item)
        messages = len(self.world.mysql.database.rows["message"])
        return Verdict(self.seed, self.world.trace.digest, found, messages, faults, calls, self.loop.turns)

    async def _ready(self) -> None:
        """Wait until every service says that nothing is missing; the judge sees if it never comes."""
        while self.loop.time() < SILENT_S - 0.1:
            if all(
                place.process and place.app and place.app._missing() is None for place in self.world.places.values()
            ):
                self.history.calm_s = self.loop.time()
                return
            await asyncio.sleep(0.05)

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.loop.time()))

    async def clear_up(self) -> None:
        """End every task, so that nothing of this run outlives it."""
        self._over = True
        for place in self.world.places.values():
            self.world.kill(place.name)
        for process in self.world.graveyard:
            process.bury()
        tasks = [task for task in asyncio.all_tasks(self.loop) if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=60)
