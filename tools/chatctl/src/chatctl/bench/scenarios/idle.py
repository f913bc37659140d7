"""Owns `idle`: what a connection costs that says nothing, and whether those who talk notice."""

import asyncio
import resource
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

from chatctl.bench.fleet import Fleet
from chatctl.bench.measure import Measured, Options, job_for, measure, shares, work_figures
from chatctl.bench.probe import Probe
from chatctl.bench.profile import Profile
from chatctl.bench.result import Figure, Result, prefixed
from chatctl.bench.stacks import running

SPARE_FILES: Final = 2_000
"""Files of a process that are not for idle connections."""


async def idle(
    folder: Path, options: Options, *, connections: int = 50_000, talkers: int = 2_000, rate_per_s: float = 1_000
) -> Result:
    """Measure silent connections, then `steady` with them and, before they came, without them."""
    room = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20_000) - SPARE_FILES
    processes = -(-connections // room)
    options = replace(options, gateways=max(options.gateways, processes), generators=max(options.generators, processes))
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        # Before any connection: what those of the first measurement leave behind counts as the idle ones'.
        before = Probe(stack.file).memory()
        pairs = replace(job_for(stack.file, "pairs", talkers // 2), rate_per_s=rate_per_s)
        alone = await measure(stack.file, pairs, replace(options, generators=1), name="idle-alone")
        probe = Probe(stack.file)
        job = replace(job_for(stack.file, "idle", connections), sources=sources(connections))
        async with Fleet(shares(job, options.generators)) as fleet:
            await asyncio.sleep(options.warm_s)
            profile = Profile(probe.pids(), "idle") if options.profile else None
            held = sum((await probe.read("chat_gateway_connections")).values())
            begin, began = await probe.begin(), monotonic()
            await asyncio.sleep(options.duration_s)
            seconds, end = monotonic() - began, await probe.end()
            if profile is not None:
                profile.end()
            window = probe.window(begin, end, seconds)
            pairs = replace(pairs, prefix=f"{pairs.prefix}again")
            together = await measure(stack.file, pairs, replace(options, generators=1), name="idle-steady")
            missing = await fleet.finish()
    rss_kib = (window.rss_bytes["gateway"] - before["gateway"]) / connections / 1024
    cpu_us = window.total_cpu_s / connections / seconds * 1e6
    figures = [
        Figure(name="connections, as the gateways count them", value=held, unit=""),
        Figure(name="gateway memory per connection", value=rss_kib, unit="KiB", most=18),
        Figure(name="server CPU per connection and second", value=cpu_us, unit="µs", most=6),
        *(
            Figure(name=f"- {role}", value=spent_s / connections / seconds * 1e6, unit="µs")
            for role, spent_s in window.cpu_s.items()
        ),
        Figure(name="longest event-loop pause, below", value=window.longest_lag_s * 1e3, unit="ms", most=100),
        Figure(name="longest collection, below", value=window.longest_gc_s * 1e3, unit="ms"),
        *_steady(alone, together),
        Figure(name="connections lost", value=sum(missing.values()), unit="", most=0),
    ]
    work = f"{connections} silent connections on {options.gateways} gateways, then steady on top"
    return Result(scenario="idle", work=work, figures=figures, times=together.tally.times)


def _steady(alone: Measured, together: Measured) -> list[Figure]:
    one, other = (measured.tally.time("message").percentile_ms(99) for measured in (alone, together))
    return [
        Figure(name="steady's send→message p99 without them", value=one, unit="ms"),
        Figure(name="steady's send→message p99 with them", value=other, unit="ms", most=2 * one),
        *prefixed("steady without them", work_figures(alone)),
        *prefixed("steady with them", work_figures(together)),
    ]


def sources(connections: int) -> tuple[str, ...]:
    """Give loopback addresses enough for the connections: each has as many ports as the kernel gives."""
    return tuple(f"127.0.0.{number}" for number in range(1, connections // 10_000 + 3))
