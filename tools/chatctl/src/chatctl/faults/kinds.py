"""The kinds of faults: their names, their targets, how long they last, and who inflicts them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from chatctl.faults import clocks, line_faults, mysql_faults, processes, redis_faults
from chatctl.faults.scene import Scene
from chatctl.faults.shape import Shape

Inflict = Callable[[Scene, str, Random], AbstractAsyncContextManager[str]]
"""Enter: the fault begins; gives what was done. Leave: it is undone."""

STEP_S: Final = 60
"""How far a clock is stepped, forth or back."""
MOMENT: Final = (0.0, 0.0)
SHORT: Final = (0.5, 3.0)
"""Seconds: below the 4 s after which a worker is dead to the others."""
LONG: Final = (7.0, 11.0)
"""Seconds: past those 4 s, the two beats of a takeover and the 8 s of a vanished owner's lock."""
SOME: Final = (2.0, 8.0)
ALL: Final = ("all",)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault."""

    name: str
    inflict: Inflict
    targets: Callable[[Shape], Sequence[str]]
    lasts_s: tuple[float, float]
    missing: Callable[[], str | None] = lambda: None
    """Says why it cannot be inflicted on this machine."""


@asynccontextmanager
async def _clock_stepped(scene: Scene, target: str, random: Random) -> AsyncIterator[str]:
    seconds = random.choice((-STEP_S, STEP_S))
    async with scene.clocks.stepped(target, seconds):
        yield f"{seconds:+d} s"


def _client_kill(kind: str) -> Inflict:
    return lambda scene, _target, _random: redis_faults.cut_off(scene, kind)


def _all(_: Shape) -> Sequence[str]:
    return ALL


def _store(name: str) -> Callable[[Shape], Sequence[str]]:
    return lambda _: (name,)


def _lines(names: Callable[[Shape], Sequence[str]], to: str) -> Callable[[Shape], Sequence[str]]:
    return lambda shape: [f"{name}:{to}" for name in names(shape)]


def _gateways(shape: Shape) -> Sequence[str]:
    return shape.gateway_names


def _workers(shape: Shape) -> Sequence[str]:
    return shape.worker_names


def _presence(shape: Shape) -> Sequence[str]:
    return shape.presence_names


def _processes(shape: Shape) -> Sequence[str]:
    return shape.processes


def _clocks(shape: Shape) -> Sequence[str]:
    return shape.clocks


def _any_line(shape: Shape) -> Sequence[str]:
    return shape.lines


REDIS, MYSQL = _store("redis"), _store("mysql")

_partition = partial(Kind, inflict=line_faults.partitioned, lasts_s=LONG)

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("kill", processes.killed, _processes, MOMENT),
        Kind("pause_short", processes.paused, _processes, SHORT),
        Kind("pause_long", processes.paused, _processes, LONG),
        Kind("terminate", processes.terminated, _processes, MOMENT),
        Kind("rolling", processes.rolled, _all, (20.0, 30.0)),
        Kind("redis_flush", redis_faults.flushed, REDIS, MOMENT),
        Kind("redis_restart", processes.terminated, REDIS, MOMENT),
        Kind("redis_cut_log", redis_faults.log_cut, REDIS, (0.5, 3.0)),
        Kind("redis_full", redis_faults.full, REDIS, SOME),
        Kind("redis_kill_pubsub", _client_kill("pubsub"), REDIS, MOMENT),
        Kind("redis_kill_normal", _client_kill("normal"), REDIS, MOMENT),
        Kind("mysql_read_only", mysql_faults.read_only, MYSQL, SOME),
        Kind("mysql_kill_connections", mysql_faults.connections_killed, MYSQL, MOMENT),
        Kind("mysql_lost_commit", mysql_faults.commits_unanswered, _workers, SOME),
        Kind("mysql_lock_wait", mysql_faults.rows_locked, MYSQL, SOME),
        Kind("clock", _clock_stepped, _clocks, LONG, clocks.missing),
        Kind("cut_clients", line_faults.clients_cut, _all, MOMENT),
        _partition("partition_worker_redis", targets=_lines(_workers, "redis")),
        _partition("partition_worker_mysql", targets=_lines(_workers, "mysql")),
        _partition("partition_gateway_clients", targets=_lines(_gateways, "clients")),
        _partition("partition_gateway_redis", targets=_lines(_gateways, "redis")),
        _partition("partition_presence_redis", targets=_lines(_presence, "redis")),
        Kind("slow_line", line_faults.slow, _any_line, SOME),
        Kind("lossy_line", line_faults.lossy, _any_line, SOME),
        Kind("line_down", line_faults.down, _any_line, SOME),
    )
}
"""By name; the order is that of their telling."""


def choice_of(named: str) -> tuple[Kind, str]:
    """Read a kind's name, and behind a colon how its targets begin: `kill`, `kill:worker`. Raises `ValueError`."""
    name, _, begin = named.partition(":")
    if name not in KINDS:
        raise ValueError(f"no such fault: {name}; there are {', '.join(KINDS)}")
    return KINDS[name], begin


def targets_of(named: str, shape: Shape) -> list[str]:
    """Name the targets of a kind that were chosen with it. Raises `ValueError`."""
    kind, begin = choice_of(named)
    return [target for target in kind.targets(shape) if target.startswith(begin)]
