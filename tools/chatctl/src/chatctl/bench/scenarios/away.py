"""Owns `storm` and `backlog`: many devices that return at once, and one that missed very much."""

import asyncio
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

from chatctl.bench.fleet import Fleet
from chatctl.bench.job import Job, Tally
from chatctl.bench.measure import Options, job_for, shares
from chatctl.bench.probe import ROLES, Probe, Window
from chatctl.bench.profile import Profile
from chatctl.bench.result import Figure, Result
from chatctl.bench.rows import Past, write
from chatctl.bench.scenarios.idle import sources
from chatctl.bench.stacks import BenchStack, running

LOOK_S: Final = 0.25
ADMISSION: Final = "refused 429"
"""What a load counts a handshake as that the admission control sent away for a while."""
RETURN_S: Final = 300.0
OTHERS: Final = 100
"""Pairs that go on meanwhile, and their messages a second."""
SETTLE_S: Final = 2.0
"""Seconds for a gateway to see the connections go."""


async def storm(folder: Path, options: Options, *, devices: int = 10_000, missed: int = 5) -> Result:
    """Measure a return of all devices at once."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "away", devices), missed=missed, sources=sources(devices))
        window, tally, missing = await _return(stack, job, options)
    cost_us = window.total_cpu_s / devices * 1e6
    roles = [Figure(name=f"- {role}", value=window.cpu_s[role] / devices * 1e6, unit="µs") for role in ROLES]
    figures = [Figure(name="server CPU per return", value=cost_us, unit="µs", most=1_200), *roles]
    figures += [Figure(name="all are back after", value=window.seconds, unit="s"), *_returns(tally, devices)]
    figures.append(Figure(name="messages that did not come", value=sum(missing.values()), unit="", most=0))
    work = f"{devices} devices cut at once, each with {missed} missed messages"
    return Result(scenario="storm", work=work, figures=figures, times=tally.times)


async def backlog(folder: Path, options: Options, *, missed: int = 100_000) -> Result:
    """Measure one device's return for very many messages, beside others who go on."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        others = replace(job_for(stack.file, "pairs", OTHERS), rate_per_s=float(OTHERS))
        async with Fleet([others]) as fleet:
            await fleet.start()
            await asyncio.sleep(options.warm_s)
            await fleet.mark()
            await asyncio.sleep(options.duration_s)
            before = await fleet.mark()
            memory = Probe(stack.file).memory()
            job = replace(job_for(stack.file, "away", 1), missed=missed)
            window, tally, missing = await _return(stack, job, options)
            during = await fleet.mark()
    rate = missed / max(1e-3, tally.time("replay").percentile_ms(100) / 1e3)
    figures = [Figure(name="messages per second", value=rate, unit="1/s", least=20_000)]
    figures.append(Figure(name="server CPU per message", value=window.total_cpu_s / missed * 1e6, unit="µs"))
    grown = {role: (window.rss_bytes[role] - memory[role]) / 2**20 for role in ("gateway", "worker")}
    figures += [
        Figure(name=f"memory of the {role} rose by", value=mb, unit="MiB", most=8) for role, mb in grown.items()
    ]
    for name, others_tally in (("before", before), ("meanwhile", during)):
        p99 = others_tally.time("message").percentile_ms(99)
        figures.append(Figure(name=f"others' send→message p99, {name}", value=p99, unit="ms"))
    figures.append(Figure(name="messages that did not come", value=sum(missing.values()), unit="", most=0))
    return Result(scenario="backlog", work=f"one device with {missed} missed messages", figures=figures)


async def _return(stack: BenchStack, job: Job, options: Options) -> tuple[Window, Tally, dict[str, int]]:
    """Make the devices known and cut them, write what they miss, and look at their return."""
    async with Fleet(shares(job, options.generators)) as fleet:
        pasts = [Past(f"{job.prefix}-{n}a", f"{job.prefix}-{n}b", job.missed, held=False) for n in range(job.count)]
        await asyncio.to_thread(write, stack.file.mysql, pasts)
        await asyncio.sleep(SETTLE_S)
        probe, total = Probe(stack.file), Tally()
        profile = Profile(probe.pids(), job.load) if options.profile else None
        begin, began = await probe.begin(), monotonic()
        await fleet.start()
        while total.counts.get("returned", 0) < job.count and monotonic() - began < RETURN_S:
            await asyncio.sleep(LOOK_S)
            total.add(await fleet.mark())
        seconds, end = monotonic() - began, await probe.end()
        if profile is not None:
            profile.end()
        missing = await fleet.finish()
    return probe.window(begin, end, seconds), total, missing


def _returns(tally: Tally, devices: int) -> list[Figure]:
    later = tally.counts.get(ADMISSION, 0)
    failed = sum(count for name, count in tally.counts.items() if name.startswith(("refused", "failed"))) - later
    times = tally.time("return")
    return [
        Figure(name="devices back", value=tally.counts.get("returned", 0), unit="", least=devices),
        Figure(name="handshakes told to come later (429)", value=later, unit=""),
        Figure(name="handshakes refused otherwise, or failed", value=failed, unit="", most=0),
        *(Figure(name=f"return p{p:g}", value=times.percentile_ms(p), unit="ms") for p in (50, 99)),
    ]
