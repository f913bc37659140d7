"""Owns what goes wrong in a run, and when: drawn from the seed before it begins, undone before the system is to settle.

Single calls that go wrong are `calls`' part; the plan says when. Each fault is told to the history, so that promises of
time are only held where nothing was wrong.
"""

from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from chatctl.simulate.calls import Calls, Strike, Undo
from chatctl.simulate.network import Lane
from chatctl.simulate.world import MYSQL, REDIS, Place, World
from chatctl.verify.history import Fault, History

FIRST_S, LAST_S = 4.0, 35.0
"""When faults begin; the last one is over by `END_S`."""
END_S: Final = 40.0
CALM_SHARE: Final = 0.25
"""Of the seeds, in which nothing is done."""
BRIEF_SHARE: Final = 0.25
"""Of the others, in which it happens within `BRIEF_S`: the rest of the minute is held to promises of time."""
BRIEF_S: Final = 8.0
FAULTS_MAX: Final = 7
CALLS: Final = (3, 9)
"""How many single calls go wrong, at least and at most."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come."""

    at_s: float
    kind: str
    lasts_s: float


class Faults:
    """Breaks one world."""

    def __init__(self, world: World, history: History) -> None:
        self.world, self.history = world, history
        self._dice = world.dice("faults")
        self.cut_clients: Callable[[], None] = lambda: None
        self.calls = Calls(world, self)
        self._open: dict[int, Undo] = {}
        self._kept: object = None
        self._kinds: dict[str, Callable[[float], tuple[str, Undo]]] = {
            "kill": self._kill,
            "vanish": self._vanish,
            "terminate": self._terminate,
            "pause": self._pause,
            "outage": self._outage,
            "slow": self._slow,
            "cut": self._cut,
            "clients cut": self._clients_cut,
            "clients outage": self._clients_outage,
            "clock": self._clock,
            "redis flush": self._redis_flush,
            "redis restart": self._redis_restart,
            "redis older": self._redis_older,
            "redis pause": lambda lasts_s: self._pause_host(REDIS, lasts_s),
            "redis full": self._redis_full,
            "mysql restart": self._mysql_restart,
            "mysql pause": lambda lasts_s: self._pause_host(MYSQL, lasts_s),
            "mysql kill sessions": self._mysql_kill,
            "mysql read only": self._mysql_read_only,
            "mysql deadlocks": self._mysql_deadlocks,
            "mysql row held": self._mysql_row_held,
        }

    def plan(self) -> tuple[list[Planned], list[Strike]]:
        """Draw what will happen."""
        dice = self._dice
        if dice.random() < CALM_SHARE:
            return [], []
        first_s, last_s = FIRST_S, LAST_S
        if dice.random() < BRIEF_SHARE:
            first_s = dice.uniform(FIRST_S, LAST_S - BRIEF_S)
            last_s = first_s + BRIEF_S
        kinds = list(self._kinds)
        drawn = [
            Planned(dice.uniform(first_s, last_s), dice.choice(kinds), dice.choice((0.3, 1.0, 2.0, 5.0, 7.0)))
            for _ in range(dice.randint(0, FAULTS_MAX))
        ]
        strikes = self.calls.plan(dice, dice.randint(*CALLS), first_s, last_s)
        return sorted(drawn, key=lambda planned: planned.at_s), strikes

    def begin(self, planned: Planned) -> None:
        """Do it, and see to its end."""
        lasts_s = min(planned.lasts_s * self._dice.uniform(0.5, 1.0), END_S - planned.at_s)
        target, undo = self._kinds[planned.kind](lasts_s)
        self.lasts(planned.kind, target, undo, lasts_s)

    def lasts(self, kind: str, target: str, undo: Undo, lasts_s: float) -> float:
        """Tell that something begins, and undo it when it is over, or all faults are; gives after how many seconds."""
        lasts_s = min(lasts_s, END_S - self.world.now_s())
        self._tell(kind, target, begins=True)
        number = len(self.history.faults)

        def end() -> None:
            if self._open.pop(number, None) is not None:
                undo()
                self._tell(kind, target, begins=False)

        self._open[number] = end
        self.world.loop.call_later(lasts_s, end, context=Context())
        return lasts_s

    def end_all(self) -> None:
        """Undo whatever still lasts."""
        self.calls.disarm()
        for end in list(self._open.values()):
            end()

    def _tell(self, kind: str, target: str, *, begins: bool) -> None:
        self.world.trace.note("fault" if begins else "over", kind, target)
        self.history.faults.append(Fault(self.world.now_s(), kind, target, begins))

    def _any(self, *roles: str) -> Place | None:
        places = [place for place in self.world.places.values() if place.process is not None]
        chosen = [place for place in places if not roles or place.role in roles]
        return self._dice.choice(chosen) if chosen else None

    def _again(self, name: str) -> Undo:
        return lambda: self.world.start(name)

    def _kill(self, _: float) -> tuple[str, Undo]:
        place = self._any()
        if place is None:
            return "nobody", _nothing
        self.world.kill(place.name)
        return place.name, self._again(place.name)

    def _vanish(self, _: float) -> tuple[str, Undo]:
        place = self._any()
        if place is None:
            return "nobody", _nothing
        self.world.kill(place.name, vanishes_s=self._dice.uniform(1.0, 12.0))
        return place.name, self._again(place.name)

    def _terminate(self, _: float) -> tuple[str, Undo]:
        place = self._any()
        if place is None or place.process is None:
            return "nobody", _nothing
        place.process.terminate()

        def undo() -> None:
            if place.process is not None:  # it did not end by itself yet: what it still had to do, it does not
                for begins in (True, False):
                    self._tell("kill", place.name, begins=begins)
            self.world.restart(place.name)

        return place.name, undo

    def _pause(self, _: float) -> tuple[str, Undo]:
        place = self._any()
        if place is None or place.process is None:
            return "nobody", _nothing
        place.process.pause()
        return place.name, place.process.resume

    def _lane(self) -> tuple[str, Lane] | None:
        place = self._any()
        if place is None:
            return None
        host = self._dice.choice((REDIS, MYSQL) if place.role == "worker" else (REDIS,))
        return f"{place.name}:{host}", place.lanes[host]

    def _outage(self, lasts_s: float) -> tuple[str, Undo]:
        found = self._lane()
        if found is None:
            return "nobody", _nothing
        found[1].outage_until_s = self.world.now_s() + lasts_s
        return found[0], found[1].cut if self._dice.random() < 0.5 else _nothing

    def _slow(self, lasts_s: float) -> tuple[str, Undo]:
        found = self._lane()
        if found is None:
            return "nobody", _nothing
        found[1].slow_until_s = self.world.now_s() + lasts_s
        found[1].slow_s = self._dice.choice((0.02, 0.2, 1.5))
        return found[0], _nothing

    def _cut(self, _: float) -> tuple[str, Undo]:
        found = self._lane()
        if found is None:
            return "nobody", _nothing
        found[1].cut()
        return found[0], _nothing

    def _clients_cut(self, _: float) -> tuple[str, Undo]:
        self.cut_clients()
        return "clients", _nothing

    def _clients_outage(self, lasts_s: float) -> tuple[str, Undo]:
        place = self._any("gateway")
        if place is None:
            return "nobody", _nothing
        place.clients_outage_until_s = self.world.now_s() + lasts_s
        return place.name, _nothing

    def _clock(self, _: float) -> tuple[str, Undo]:
        place = self._any()
        if place is None or place.process is None:
            return "nobody", _nothing
        process = place.process
        process.skew_s = self._dice.choice((-60.0, 60.0))

        def undo() -> None:
            process.skew_s = 0.0

        return place.name, undo

    def _redis_flush(self, _: float) -> tuple[str, Undo]:
        self.world.redis.flush()
        return REDIS, _nothing

    def _redis_restart(self, _: float) -> tuple[str, Undo]:
        self.world.redis.stop(lose=self._dice.random() < 0.5)
        return REDIS, self.world.redis.start

    def _redis_older(self, lasts_s: float) -> tuple[str, Undo]:
        """Stop, and come back with what stood some seconds before: an append-only file whose tail is cut."""
        redis = self.world.redis
        kept = redis.keys.copy()

        def undo() -> None:
            redis.stop(lose=True)
            redis.keys.restore(kept)
            redis.start()

        del lasts_s
        return REDIS, undo

    def _pause_host(self, host: str, _: float) -> tuple[str, Undo]:
        process = self.world.hosts[host].process
        process.pause()
        return host, process.resume

    def _redis_full(self, _: float) -> tuple[str, Undo]:
        self.world.redis.full = True

        def undo() -> None:
            self.world.redis.full = False

        return REDIS, undo

    def _mysql_restart(self, _: float) -> tuple[str, Undo]:
        self.world.mysql.stop()
        return MYSQL, self.world.mysql.start

    def _mysql_kill(self, _: float) -> tuple[str, Undo]:
        self.world.mysql.kill_sessions()
        return MYSQL, _nothing

    def _mysql_read_only(self, _: float) -> tuple[str, Undo]:
        self.world.mysql.read_only = True

        def undo() -> None:
            self.world.mysql.read_only = False

        return MYSQL, undo

    def _mysql_deadlocks(self, _: float) -> tuple[str, Undo]:
        self.world.mysql.deadlocks = self._dice.randint(1, 4)

        def undo() -> None:
            self.world.mysql.deadlocks = 0

        return MYSQL, undo

    def _mysql_row_held(self, _: float) -> tuple[str, Undo]:
        """Somebody holds a partition's row, as the session of a vanished owner does."""
        locks = self.world.mysql.database.locks
        owner = object()
        partition = self._dice.randrange(3)
        locks.take(owner, ("partition_owner", 0, partition))
        return f"partition {partition}", lambda: locks.release(owner)


def _nothing() -> None:
    """What is over by itself."""
