"""Owns `peer`: the same work on ejabberd from Debian, on the same MariaDB and in the same run."""

import asyncio
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

from chatctl.bench import ejabberd
from chatctl.bench.fleet import Fleet
from chatctl.bench.job import Tally
from chatctl.bench.measure import Measured, Options, fault_figures, job_for, measure, require_work, shares
from chatctl.bench.probe import cpu_s
from chatctl.bench.result import Figure, Result, prefixed
from chatctl.bench.stacks import BenchStack, running

CHEAPER: Final = 6.0
"""Times that a message is to be cheaper here than on a peer that archives it, as this system does."""


async def peer(folder: Path, options: Options, *, pairs: int = 300, in_flight: int = 4) -> Result:
    """Measure life here, then on ejabberd with its archive, then on one that stores nothing."""
    async with running(folder, gateways=options.gateways, workers=options.workers) as stack:
        job = replace(job_for(stack.file, "pairs", pairs), in_flight=in_flight)
        ours = await measure(stack.file, job, options, name="peer")
        ours_us = ours.cost_us(ours.window.total_cpu_s)
        figures = prefixed("here", _ours(ours, ours_us))
        for archiving in (True, False):
            found = await _measure(stack, options, pairs=pairs, in_flight=in_flight, archiving=archiving)
            figures += found
            theirs_us = found[0].value
            if archiving:
                ratio = Figure(
                    name="ejabberd archiving costs, times", value=theirs_us / ours_us, unit="", least=CHEAPER
                )
            else:
                ratio = Figure(name="here against storing nothing", value=ours_us / theirs_us, unit="", most=1.0)
            figures.append(ratio)
    work = (
        f"{pairs} pairs, {in_flight} messages in flight each, 200-byte bodies, {options.duration_s:g} s each, here and"
        " on ejabberd (stream management, receipts) with the same database server"
    )
    return Result(scenario="peer", work=work, figures=figures, times=ours.tally.times)


def _ours(measured: Measured, cost_us: float) -> list[Figure]:
    return [
        Figure(name="server CPU per message", value=cost_us, unit="µs"),
        Figure(name="messages per second", value=measured.rate_per_s, unit="1/s"),
        Figure(name="send→message p50", value=measured.tally.time("message").percentile_ms(50), unit="ms"),
        *fault_figures(measured.tally, measured.missing),
    ]


async def _measure(stack: BenchStack, options: Options, *, pairs: int, in_flight: int, archiving: bool) -> list[Figure]:
    job = replace(job_for(stack.file, "stanzas", pairs), in_flight=in_flight)
    users = [f"{job.prefix}-{number}{side}" for number in range(pairs) for side in "ab"]
    [mysql] = [entry.pid or 0 for entry in stack.file.processes if entry.role == "mysql"]
    async with ejabberd.running(stack.folder / "peer", stack.file.mysql, users, archiving=archiving) as server:
        job = replace(job, urls=(f"xmpp://127.0.0.1:{server.port}",))
        async with Fleet(shares(job, options.generators)) as fleet:
            await fleet.start()
            await asyncio.sleep(options.warm_s)
            await fleet.mark()
            before, began = (cpu_s(server.pid), cpu_s(mysql)), monotonic()
            await asyncio.sleep(options.duration_s)
            after, seconds = (cpu_s(server.pid), cpu_s(mysql)), monotonic() - began
            tally = await fleet.mark()
            missing = await fleet.finish()
    name = "ejabberd archiving" if archiving else "ejabberd storing nothing"
    require_work(tally, missing, name=name)
    spent = [late - early for early, late in zip(before, after, strict=True)]
    return prefixed(name, _theirs(tally, spent, seconds, sum(missing.values())))


def _theirs(tally: Tally, spent_s: list[float], seconds: float, missing: int) -> list[Figure]:
    messages = tally.counts.get("messages", 0)
    own_us, mysql_us = (cpu / max(1, messages) * 1e6 for cpu in spent_s)
    return [
        Figure(name="server CPU per message", value=own_us + mysql_us, unit="µs"),
        Figure(name="- its own process", value=own_us, unit="µs"),
        Figure(name="- mysql", value=mysql_us, unit="µs"),
        Figure(name="messages per second", value=messages / seconds, unit="1/s"),
        Figure(name="send→message p50", value=tally.time("message").percentile_ms(50), unit="ms"),
        Figure(name="not received or lost", value=missing, unit="", most=0),
    ]
