"""Inflicts a plan's faults on a scene, and undoes each of them, however the run ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic
from typing import Final, Literal

from pymysql.err import MySQLError
from redis.exceptions import RedisError

from chatctl.faults.kinds import KINDS
from chatctl.faults.plan import Plan, TimedFault, plan_of
from chatctl.faults.scene import Scene

__all__ = ["FaultNote", "Plan", "TimedFault", "plan_of", "run_faults", "unavailable", "was_inflicted"]

NOT_DONE: Final = (OSError, RedisError, MySQLError)
"""What a fault may fail with because another one is in force: its target is down, held or cut off."""
UNAVAILABLE: Final = "unavailable: "
UNDONE: Final = "not done: "
"""How the detail of an end begins whose fault was not inflicted."""


@dataclass(frozen=True, slots=True)
class FaultNote:
    """A fault began or ended."""

    at_s: float
    """Monotonic seconds."""
    kind: str
    target: str
    phase: Literal["begin", "end"]
    detail: str


Note = Callable[[FaultNote], None]


def unavailable(kinds: tuple[str, ...]) -> dict[str, str]:
    """Name the kinds that cannot be inflicted on this machine, and why."""
    return {kind: why for kind in kinds if (why := KINDS[kind].missing()) is not None}


def was_inflicted(detail: str) -> bool:
    """Tell from the detail of its end whether a fault was inflicted."""
    return not detail.startswith((UNAVAILABLE, UNDONE))


async def run_faults(plan: Plan, scene: Scene, note: Note) -> None:
    """Inflict a plan, from now on. Every fault is undone when this returns, fails or is cancelled.

    A fault that cannot be inflicted, because another one keeps it from that, is noted so. Of a rolling restart each
    process is noted as well, as the target of one.
    """
    began = monotonic()
    scene.on_step = partial(_tell_step, note)
    async with asyncio.TaskGroup() as inflicted:
        for fault in plan.faults:
            await asyncio.sleep(max(0.0, began + fault.at_s - monotonic()))
            inflicted.create_task(_inflict(fault, scene, note), name=f"{fault.kind} {fault.target}")


async def _inflict(fault: TimedFault, scene: Scene, note: Note) -> None:
    kind = KINDS[fault.kind]
    if (why := kind.missing()) is not None:
        _tell(note, fault, "begin", f"{UNAVAILABLE}{why}")
        _tell(note, fault, "end", f"{UNAVAILABLE}{why}")
        return
    _tell(note, fault, "begin", f"for {fault.lasts_s:.1f} s")
    detail, failed = "cancelled", UNDONE
    try:
        async with kind.inflict(scene, fault.target, Random(fault.seed)) as detail:  # noqa: S311 - a seed is to give the same again
            failed = "not undone: "
            await asyncio.sleep(fault.lasts_s)
    except NOT_DONE as error:
        detail = f"{failed}{type(error).__name__}: {error}"
    finally:
        _tell(note, fault, "end", detail)


def _tell_step(note: Note, target: str, begins: bool) -> None:  # noqa: FBT001 - as the scene calls it
    note(FaultNote(monotonic(), "rolling", target, "begin" if begins else "end", "SIGTERM"))


def _tell(note: Note, fault: TimedFault, phase: Literal["begin", "end"], detail: str) -> None:
    note(FaultNote(monotonic(), fault.kind, fault.target, phase, detail))
