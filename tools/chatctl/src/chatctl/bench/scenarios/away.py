"""Owns `storm` and `backlog`: many devices that return at once, and one that missed very much."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Final

from chatctl.bench.fleet import Fleet
from chatctl.bench.job import Job, Tally
from chatctl.bench.measure import Options, fault_figures, job_for, shares
from chatctl.bench.probe import ROLES, Probe, Window
from chatctl.bench.profile import Profile
from chatctl.bench.result import Figure, Result, prefixed
from chatctl.bench.rows import Past, write
from chatctl.bench.scenarios.idle import sources
from chatctl.bench.stacks import BenchStack, running
from chatctl.stack.stack_file import Role

LOOK_S: Final = 0.25
ADMISSION: Final = "refused 429"
"""What a load counts a handshake as that the admission control sent away for a while."""
RETURN_S: Final = 300.0
OTHERS: Final = 100
"""Pairs that go on meanwhile, and their messages a second."""
OTHERS_SLOWER: Final = 2.0
"""What their p99 may be meanwhile, in times of what it was, as `idle` allows its `steady`. Some two hundred messages
fall into a return, so that three late ones make a p99 of their own."""
SETTLE_S: Final = 2.0
"""Seconds for a gateway to see the connections go."""


@dataclass(frozen=True, slots=True)
class Return:
    """What was seen of a return, from when the devices were told to until all were back."""

    window: Window
    tally: Tally
    missing: int
    """Messages that did not come."""
    others: Tally
    """Of those who went on meanwhile."""


async def storm(folder: Path, options: Options, *, devices: int = 10_000, missed: int = 5) -> Result:
    """Measure a return of all devices at once."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "away", devices), missed=missed, sources=sources(devices))
        back = await _return(stack, job, options)
    window = back.window
    cost_us = window.total_cpu_s / devices * 1e6
    roles = [Figure(name=f"- {role}", value=window.cpu_s[role] / devices * 1e6, unit="µs") for role in ROLES]
    figures = [Figure(name="server CPU per return", value=cost_us, unit="µs", most=1_200), *roles]
    figures += [Figure(name="all are back after", value=window.seconds, unit="s"), *_returns(back, devices)]
    times = back.tally.time("return")
    figures += [Figure(name=f"return p{p:g}", value=times.percentile_ms(p), unit="ms") for p in (50, 99)]
    work = f"{devices} devices cut at once, each with {missed} missed messages"
    return Result(scenario="storm", work=work, figures=figures, times=back.tally.times)


async def backlog(folder: Path, options: Options, *, missed: int = 100_000) -> Result:
    """Measure one device's return for very many messages, beside others who go on."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        probe, pairs = Probe(stack.file), job_for(stack.file, "pairs", OTHERS)
        async with Fleet([replace(pairs, rate_per_s=float(OTHERS))]) as others:
            await others.start()
            await asyncio.sleep(options.warm_s)
            await others.mark()
            await asyncio.sleep(options.duration_s)
            before, memory = await others.mark(), probe.memory()
            job = replace(job_for(stack.file, "away", 1), missed=missed)
            back = await _return(stack, job, options, others)
            peak = probe.peak_memory()
            lost = await others.finish()
    replay_s = back.tally.time("replay").percentile_ms(100) / 1e3
    rate = (missed - back.missing) / replay_s if replay_s else 0.0
    figures = [
        Figure(name="messages per second", value=rate, unit="1/s", least=20_000),
        Figure(name="server CPU per message", value=back.window.total_cpu_s / missed * 1e6, unit="µs"),
        *_memory(memory, back.window.rss_bytes, peak),
        *_others(before, back.others, lost),
        *_returns(back, 1),
    ]
    return Result(scenario="backlog", work=f"one device with {missed} missed messages", figures=figures)


async def _return(stack: BenchStack, job: Job, options: Options, others: Fleet | None = None) -> Return:
    """Make the devices known and cut them, write what they miss, and look at their return."""
    others = others or Fleet([])
    async with Fleet(shares(job, options.generators)) as fleet:
        pasts = [Past(f"{job.prefix}-{n}a", f"{job.prefix}-{n}b", job.missed, held=False) for n in range(job.count)]
        await asyncio.to_thread(write, stack.file.mysql, pasts)
        await asyncio.sleep(SETTLE_S)
        probe, total = Probe(stack.file), Tally()
        profile = Profile(probe.pids(), job.load) if options.profile else None
        begin = await probe.begin()
        await others.mark()  # what they met until now is the preparation's
        began = monotonic()
        await fleet.start()
        while total.counts.get("returned", 0) < job.count and monotonic() - began < RETURN_S:
            await asyncio.sleep(LOOK_S)
            total.add(await fleet.mark())
        seconds, meanwhile, end = monotonic() - began, await others.mark(), await probe.end()
        if profile is not None:
            profile.end()
        missing = await fleet.finish()
    return Return(probe.window(begin, end, seconds), total, sum(missing.values()), meanwhile)


def _returns(back: Return, devices: int) -> list[Figure]:
    counts = back.tally.counts
    later = counts.get(ADMISSION, 0)
    failed = sum(count for name, count in counts.items() if name.startswith(("refused", "failed"))) - later
    return [
        Figure(name="devices back", value=counts.get("returned", 0), unit="", least=devices),
        Figure(name="handshakes told to come later (429)", value=later, unit=""),
        Figure(name="handshakes refused otherwise, or failed", value=failed, unit="", most=0),
        Figure(name="messages that did not come", value=back.missing, unit="", most=0),
    ]


def _memory(before: Mapping[Role, int], after: Mapping[Role, int], peak: Mapping[Role, int]) -> list[Figure]:
    """Tell of the memory of those who pass a backlog on; a peak from before the return counts too."""
    return [
        Figure(name=f"{what} of the {role} rose by", value=(then[role] - before[role]) / 2**20, unit="MiB", most=most)
        for what, then, most in (("memory", after, 8), ("peak memory", peak, None))
        for role in ("gateway", "worker")
    ]


def _others(before: Tally, meanwhile: Tally, lost: Mapping[str, int]) -> list[Figure]:
    one, other = (tally.time("message").percentile_ms(99) for tally in (before, meanwhile))
    return [
        Figure(name="others' send→message p99, before", value=one, unit="ms"),
        Figure(name="others' send→message p99, meanwhile", value=other, unit="ms", most=OTHERS_SLOWER * one),
        Figure(name="others' messages meanwhile", value=meanwhile.counts.get("messages", 0), unit=""),
        *prefixed("others", fault_figures(meanwhile, lost)),
    ]
