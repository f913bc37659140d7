"""Owns the course of one run: the scene or the deployment, everybody on it, the faults, the end, the verdict."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatcore.lifecycle import ended

from chatctl.faults.nemesis import FaultNote, Plan, plan_of, run_faults
from chatctl.faults.scene import Scene, make_scene
from chatctl.verify.case import Case
from chatctl.verify.history import Fault, History
from chatctl.verify.ledger import Ledger
from chatctl.verify.planted.bugs import BUGS
from chatctl.verify.population import Population
from chatctl.verify.settling import Settling, users_at_the_end
from chatctl.verify.stalling import StallTrial
from chatctl.verify.system import Remote, Stores, System
from chatctl.verify.verdict import Verdict, verdict_on
from chatctl.verify.waiting import until

ARRIVE_S: Final = 60.0
"""Seconds for everybody to connect in the beginning."""
LAG_LOOK_S: Final = 0.05
"""The tool looks so often whether it is late itself."""
LATE_S: Final = 0.1
"""Seconds late that are worth noting."""
TRIAL_FROM_S: Final = 60.0
"""Seconds of talk of the shortest run with a trial of a client that does not read: it takes 21 s more."""
STALLED: Final = "a_stalled_client_moves_nobody"
ELSEWHERE: Final = ("elsewhere", "system")
"""Kind and target of what others do to a system while it is watched; it lasts as long as the talk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run was asked for."""

    seed: int
    duration_s: float
    clients: int
    kinds: Sequence[str]
    """The kinds of faults; none for a run without."""
    folder: Path
    planted: str | None = None
    """The bug that runs in the place of services."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over."""

    options: Options
    case: Case
    verdict: Verdict
    fallen: Sequence[str]
    """Devices that an error ended."""


async def run_privately(options: Options, say: Callable[[str], None]) -> Run:
    """Run against a private stack, with faults. Raises `Failure` when it cannot be started."""
    say("starting a private stack")
    bug = BUGS[options.planted] if options.planted else None
    modules = bug.modules(options.planted or "") if bug else {}
    async with make_scene(options.folder, modules=modules, seed=options.seed) as scene:
        if bug is not None:
            await bug.prepare(scene)
        return await _run(options, scene, plan_of(options.seed, options.duration_s, options.kinds), say)


async def run_against(options: Options, remote: Remote, say: Callable[[str], None]) -> Run:
    """Run against a system that runs elsewhere, without faults of our own."""
    return await _run(options, remote, None, say)


async def _run(options: Options, system: System, plan: Plan | None, say: Callable[[str], None]) -> Run:
    history = History()
    # A scene is new: there nothing that is drawn from a user's name may differ from run to run.
    mark = f"{options.seed}" if isinstance(system, Scene) else f"{options.seed}-{secrets.token_hex(3)}"
    population = Population.build(
        system, history, seed=options.seed, clients=options.clients, duration_s=options.duration_s, mark=mark
    )
    if isinstance(system, Remote):
        say("asking for tokens")
        watchers = [watcher.user for watcher in population.watchers]
        await system.prepare([*population.users, *watchers, *users_at_the_end(mark)])
    ledger = Ledger(system) if isinstance(system, Stores) else None
    if ledger is not None:
        await ledger.prepare()
    try:
        async with _watched(history, ledger):
            history.begun_s = history.clock()
            await _act(options, system, population, history, plan, say)
            trial = StallTrial(system, history, seed=options.seed, mark=mark) if _has_trial(options) else None
            final = await Settling(system, history, population, mark=mark, ledger=ledger, trial=trial).run(say)
    finally:
        await population.stop()
    say("judging")
    case = Case(history, final)
    return Run(options, case, await asyncio.to_thread(verdict_on, case), population.fallen())


def _has_trial(options: Options) -> bool:
    """Tell whether a client stops reading in the end: not in short runs, nor where only another bug is looked for."""
    if options.planted:
        return STALLED in BUGS[options.planted].shown_by
    return options.duration_s >= TRIAL_FROM_S


async def _act(
    options: Options,
    system: System,
    population: Population,
    history: History,
    plan: Plan | None,
    say: Callable[[str], None],
) -> None:
    population.start(options.duration_s)
    present = [player for player in population.players if not player.comes_s]
    await until(lambda: all(player.device.inbox.synced for player in present), ARRIVE_S)
    say(f"{options.duration_s:.0f} s of talk" + (f" and {len(plan.faults)} faults" if plan and plan.faults else ""))
    ending = asyncio.get_running_loop().time() + options.duration_s
    disturbed = isinstance(system, Remote) and system.disturbed
    if disturbed:
        history.faults.append(Fault(history.clock(), *ELSEWHERE, begins=True))
    if plan is not None and isinstance(system, Scene):

        def note(told: FaultNote) -> None:
            begins = told.phase == "begin"
            history.faults.append(Fault(told.at_s, told.kind, told.target, begins=begins, detail=told.detail))

        await run_faults(plan, system, note)
    await asyncio.sleep(max(0.0, ending - asyncio.get_running_loop().time()))
    if disturbed:
        history.faults.append(Fault(history.clock(), *ELSEWHERE, begins=False))


@asynccontextmanager
async def _watched(history: History, ledger: Ledger | None) -> AsyncIterator[None]:
    """Watch the streams, and how late the tool itself is, for the length of a block."""
    jobs = [asyncio.create_task(_note_lags(history), name="lags")]
    if ledger is not None:
        jobs.append(asyncio.create_task(ledger.run(), name="ledger"))
    try:
        yield
    finally:
        await ended(jobs)


async def _note_lags(history: History) -> None:
    while True:
        began_s = history.clock()
        await asyncio.sleep(LAG_LOOK_S)
        now = history.clock()
        if now - began_s - LAG_LOOK_S > LATE_S:
            history.lags.append((now, now - began_s - LAG_LOOK_S))
