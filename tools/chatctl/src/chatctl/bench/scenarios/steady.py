"""Owns `steady` and `scale`: an open loop that does not wait for the server, and what more processes cost."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from chatctl.bench.measure import (
    Options,
    cost_figures,
    fault_figures,
    health_figures,
    hop_figures,
    job_for,
    measure,
    memory_figures,
    time_figures,
)
from chatctl.bench.probe import Probe
from chatctl.bench.result import Figure, Result, prefixed
from chatctl.bench.stacks import running

COMPOSITIONS: Final = ((1, 1), (2, 1), (4, 1), (1, 2), (1, 4))
"""Gateways and workers, the first to compare the others with."""


async def steady(folder: Path, options: Options, *, connections: int = 2_000, rate_per_s: float = 1_000) -> Result:
    """Measure latencies from the times at which messages were to be sent."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "pairs", connections // 2), rate_per_s=rate_per_s)
        measured = await measure(stack.file, job, options, name="steady")
    rate = Figure(name="messages per second", value=measured.rate_per_s, unit="1/s", least=0.98 * rate_per_s)
    figures = [*time_figures(measured, "message", most_ms={50: 5, 99: 20, 99.9: 60}), *time_figures(measured, "sent")]
    figures += [rate, *cost_figures(measured), *hop_figures(measured)]
    figures += [*memory_figures(measured.window), *health_figures(measured)]
    work = f"{rate_per_s:g} messages a second at random times, {connections} connections, {options.duration_s:g} s"
    return Result(scenario="steady", work=work, figures=figures, times=measured.tally.times)


async def scale(
    folder: Path,
    options: Options,
    *,
    pairs: int = 300,
    in_flight: int = 4,
    compositions: Sequence[tuple[int, int]] = COMPOSITIONS,
) -> Result:
    """Measure what a message costs with more gateways and workers than one each."""
    figures: list[Figure] = []
    first_us = 0.0
    for gateways, workers in compositions:
        async with running(folder, gateways=gateways, workers=workers) as stack:
            job = replace(job_for(stack.file, "pairs", pairs), in_flight=in_flight)
            measured = await measure(stack.file, job, options, name=f"scale-{gateways}-{workers}")
            owned = await Probe(stack.file).read("chat_worker_partitions_owned")
        cost_us = measured.cost_us(measured.window.total_cpu_s)
        first_us = first_us or cost_us
        name = f"{gateways} gateway(s), {workers} worker(s)"
        found = [
            Figure(name="CPU per message", value=cost_us, unit="µs"),
            *cost_figures(measured)[1:],
            Figure(name="against one each", value=cost_us / first_us, unit="", most=1.15),
            Figure(name="messages per second", value=measured.rate_per_s, unit="1/s"),
            health_figures(measured)[0],
            *_spread(list(owned.values())),
            *fault_figures(measured.tally, measured.missing),
        ]
        figures += prefixed(name, found)
    work = (
        f"life with {pairs} pairs, {in_flight} messages in flight each, {options.duration_s:g} s for each composition"
    )
    return Result(scenario="scale", work=work, figures=figures)


def _spread(owned: Sequence[float]) -> list[Figure]:
    """Show how evenly rendezvous hashing spread the partitions over the workers."""
    return [
        Figure(name=f"partitions of the {which} loaded worker", value=count, unit="")
        for which, count in (("most", max(owned)), ("least", min(owned)))
        if len(owned) > 1
    ]
