"""Owns what goes wrong at single messages: a call whose way, answer or caller is lost, and processes that get no CPU.

Every message of a process passes here as it leaves: this is where an await can meet a crash, a pause, a loss or a
delay. What is planned strikes at the next call of its kind, whatever the services are doing then; what each strike did
is told to the history.
"""

from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from chatctl.simulate.channel import Channel
from chatctl.simulate.event_loop import Process
from chatctl.simulate.network import Lane
from chatctl.simulate.world import CLIENTS, MYSQL, REDIS, World

WAYS: Final = (
    ("worker", REDIS),
    ("worker", REDIS),
    ("worker", MYSQL),
    ("worker", MYSQL),
    ("worker", MYSQL),
    ("gateway", REDIS),
    ("gateway", REDIS),
    ("gateway", CLIENTS),
    ("presence", REDIS),
)
"""Whose calls to whom are struck, each as often as it stands here."""
KINDS: Final = ("lost", "lost", "lost", "hang", "kill", "kill", "pause", "terminate")
ENDS: Final = ("kill", "pause", "terminate")
"""What may happen to a gateway at a client's frame; clients cut their connections themselves."""
SKIPPED: Final = (0, 0, 1, 2, 3, 5, 8, 13)
"""So many calls of the kind pass unharmed first: the next one is often a heartbeat's."""
AFFLICTED_S: Final = (0.05, 7.0)
"""Seconds until a process that ended is started again, or one that stands still goes on: also past a takeover."""
HANGS_S: Final = (0.5, 15.0)
"""Seconds for which a message hangs: also past every deadline."""
BUSY: Final = ((0.0, 0.0), (0.01, 0.005), (0.03, 0.02), (0.1, 0.005))
"""Of which share of its messages a process loses the CPU, and for how many seconds on average; one pair for a run."""

Undo = Callable[[], None]


class Lasting(Protocol):
    """Who tells the history of faults, and ends them in time."""

    def lasts(self, kind: str, target: str, undo: Undo, lasts_s: float) -> float:
        """Tell that something begins, and undo it when it is over, or all faults are; gives after how many seconds."""


@dataclass(slots=True)
class Strike:
    """A call to come that goes wrong."""

    at_s: float
    kind: str
    role: str
    host: str
    answer: bool
    """It strikes as the answer leaves: the call has been done then, and the caller does not know."""
    skips: int

    @property
    def name(self) -> str:
        """What it does, in a summary."""
        return f"{'answer' if self.answer else 'request'}: {self.kind}"

    def is_meant(self, role: str, host: str, *, answer: bool) -> bool:
        """Whether this message is the one, after those that pass."""
        if (role, host, answer) != (self.role, self.host, self.answer):
            return False
        self.skips -= 1
        return self.skips < 0


class Calls:
    """Breaks single calls of one world."""

    def __init__(self, world: World, lasting: Lasting) -> None:
        self.struck: Counter[str] = Counter()
        """How many calls went wrong, by what happened to them."""
        self._world, self._lasting = world, lasting
        self._dice, self._cpu = world.dice("calls"), world.dice("cpu")
        self._busy_share, self._busy_s = self._cpu.choice(BUSY)
        self._armed: list[Strike] = []

    def plan(self, dice: Random, count: int, first_s: float, last_s: float) -> list[Strike]:
        """Draw so many strikes between two moments."""
        return sorted((self._draw(dice, dice.uniform(first_s, last_s)) for _ in range(count)), key=lambda one: one.at_s)

    @staticmethod
    def _draw(dice: Random, at_s: float) -> Strike:
        role, host = dice.choice(WAYS)
        kinds, answer = (KINDS, dice.random() < 0.5) if host != CLIENTS else (ENDS, False)
        return Strike(at_s, dice.choice(kinds), role, host, answer, dice.choice(SKIPPED))

    def arm(self, strike: Strike) -> None:
        """Strike from now on."""
        self._armed.append(strike)

    def disarm(self) -> None:
        """Let every call pass."""
        self._armed.clear()

    def at_call(self, road: Lane, channel: Channel, *, answer: bool) -> float:
        """A message leaves on the road to a store, or its answer: do what is planned; gives seconds of delay."""
        self._stumble(road.host.process if answer else road.process)
        strike = self._meant(road.process, road.host.process.name, answer=answer) if self._armed else None
        return 0.0 if strike is None else self._strike(strike, road.process, channel)

    def at_frame(self, process: Process) -> None:
        """A gateway and a client exchange bytes: do what is planned."""
        self._stumble(process)
        strike = self._meant(process, CLIENTS, answer=False) if self._armed else None
        if strike is not None:
            self._strike(strike, process, None)

    def _meant(self, process: Process, host: str, *, answer: bool) -> Strike | None:
        role = process.name.partition("-")[0]
        for strike in self._armed:
            if process.alive and strike.is_meant(role, host, answer=answer):
                self._armed.remove(strike)
                return strike
        return None

    def _stumble(self, process: Process) -> None:
        """Take the CPU away for a moment: what comes meanwhile is ready at once, in any order."""
        if self._cpu.random() < self._busy_share and not process.paused:
            process.pause()
            self._world.loop.call_later(self._cpu.expovariate(1 / self._busy_s), process.resume, context=Context())

    def _strike(self, strike: Strike, process: Process, channel: Channel | None) -> float:
        self._world.trace.note("call", strike.name, process.name, strike.host)
        self.struck[strike.name] += 1
        kind = f"call {self.struck.total()}, {strike.name}"  # numbered: two may last at the same time
        target = f"{process.name.partition('#')[0]}:{strike.host}"
        if strike.kind == "lost" and channel is not None:
            self._soon(channel.cut)
            self._lasting.lasts(kind, target, _nothing, 0.0)
        elif strike.kind == "hang" and channel is not None:
            undo = channel.cut if self._dice.random() < 0.5 else _nothing
            return self._lasting.lasts(kind, target, undo, self._dice.uniform(*HANGS_S))
        else:
            self._lasting.lasts(kind, target, self._afflict(strike, process), self._dice.uniform(*AFFLICTED_S))
        return 0.0

    def _afflict(self, strike: Strike, process: Process) -> Undo:
        """Let the caller die, stop or stand still right behind the message; gives what makes it run again."""
        name = process.name.partition("#")[0]
        if strike.kind == "kill":
            self._soon(lambda: self._world.kill_process(process))
            return lambda: self._world.start(name)
        if strike.kind == "terminate":
            process.terminate()
            return lambda: self._world.restart(name)
        process.pause()
        return process.resume

    def _soon(self, work: Undo) -> None:
        self._world.loop.call_soon(work, context=Context())


def _nothing() -> None:
    """What is over by itself."""
