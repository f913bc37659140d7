"""Owns `life` and `light`: the whole life of messages under much load and under little."""

import asyncio
from dataclasses import replace
from pathlib import Path

from chatctl.bench.floor import commits
from chatctl.bench.measure import (
    GENERATOR_MOST_US,
    Options,
    cost_figures,
    health_figures,
    hop_figures,
    job_for,
    measure,
    memory_figures,
    time_figures,
)
from chatctl.bench.result import Figure, Result
from chatctl.bench.stacks import running


async def life(folder: Path, options: Options, *, pairs: int = 300, in_flight: int = 4) -> Result:
    """Measure a closed loop that keeps the server busy."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "pairs", pairs), in_flight=in_flight)
        measured = await measure(stack.file, job, options, name="life")
    rate = Figure(name="messages per second", value=measured.rate_per_s, unit="1/s", least=7_000)
    figures = [
        *cost_figures(measured, most_us=150, generator_most_us=GENERATOR_MOST_US),
        rate,
        *time_figures(measured, "sent"),
    ]
    figures += [*time_figures(measured, "message"), *time_figures(measured, "receipt")]
    figures += [*memory_figures(measured.window), *health_figures(measured)]
    work = f"{pairs} pairs, {in_flight} messages in flight each, 200-byte bodies, {_composition(options)}"
    return Result(scenario="life", work=work, figures=figures, times=measured.tally.times)


async def light(folder: Path, options: Options, *, pairs: int = 20) -> Result:
    """Measure a closed loop of one message in flight."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "pairs", pairs), in_flight=1)
        measured = await measure(stack.file, job, options, name="light")
        floor = await asyncio.to_thread(commits, stack.file.mysql)
    rate = Figure(name="messages per second", value=measured.rate_per_s, unit="1/s")
    figures = [*time_figures(measured, "sent", most_ms={50: 4, 99: 12}), *cost_figures(measured, most_us=500), rate]
    figures += [*time_figures(measured, "message"), *time_figures(measured, "receipt"), *hop_figures(measured)]
    figures.append(Figure(name="a commit of one row by itself, p50", value=floor.percentile_ms(50), unit="ms"))
    figures += [*memory_figures(measured.window), *health_figures(measured)]
    work = f"{pairs} pairs, one message in flight each, 200-byte bodies, {_composition(options)}"
    return Result(scenario="light", work=work, figures=figures, times=measured.tally.times)


def _composition(options: Options) -> str:
    return f"{options.gateways} gateway(s), {options.workers} worker(s), {options.duration_s:g} s"
