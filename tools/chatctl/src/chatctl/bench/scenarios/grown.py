"""Owns `grown`: the same life on an empty database and on one with a long past."""

import asyncio
from dataclasses import replace
from pathlib import Path
from time import monotonic

from chatctl.bench.measure import Options, cost_figures, job_for, measure, work_figures
from chatctl.bench.result import Figure, Result, prefixed
from chatctl.bench.rows import Past, write
from chatctl.bench.stacks import running

MESSAGES = 10
"""Of each conversation of the past."""


async def grown(folder: Path, options: Options, *, rows: int = 10_000_000, pairs: int = 300) -> Result:
    """Measure `life` before and after the past was written, with pairs that have a past in the second."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "pairs", pairs), in_flight=4)
        empty = await measure(stack.file, job, options, name="grown-empty")
        job = replace(job, prefix=f"{job.prefix}g")
        began = monotonic()
        await asyncio.to_thread(write, stack.file.mysql, _pasts(job.prefix, max(pairs, rows // MESSAGES)))
        loading_s = monotonic() - began
        full = await measure(stack.file, job, options, name="grown-full")
    one, other = (measured.cost_us(measured.window.total_cpu_s) for measured in (empty, full))
    figures = [
        Figure(name="CPU per message, empty", value=one, unit="µs"),
        Figure(name="CPU per message, grown", value=other, unit="µs"),
        Figure(name="grown against empty", value=other / one, unit="", most=1.15),
        *prefixed("grown", cost_figures(full)[1:]),
        Figure(name="writing the past took", value=loading_s, unit="s"),
        *prefixed("empty", work_figures(empty)),
        *prefixed("grown", work_figures(full)),
    ]
    return Result(scenario="grown", work=f"life on an empty database and on {rows} messages", figures=figures)


def _pasts(prefix: str, conversations: int) -> list[Past]:
    """Give the conversations of the past."""
    return [Past(f"{prefix}-{n}a", f"{prefix}-{n}b", MESSAGES, held=True) for n in range(conversations)]
