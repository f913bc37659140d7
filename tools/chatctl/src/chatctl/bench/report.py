"""Owns `docs/performance.md`: what all scenarios found, on which machine, and how to find it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from chatctl.bench.plot import latencies
from chatctl.bench.result import Result, shown

HEAD = """# Performance

Written by `./dev bench all`, or by `./dev bench page` from scenarios that ran one by one: do not edit. Every figure is
of one run on the machine below, which also made the load; under each heading stands the commit that ran, and the load
averages of the machine when it ended. Each scenario had a private stack of its own with durable commits. The CPU time
is that of all processes of a role, read from outside; latencies are counted in buckets of 1.6 %. `send→x` begins with
the (intended) sending of a message and ends when its client has the frame `x`. In `life` and `light` every message is
acknowledged at once, which is more than clients owe. What missed its target says so;
[performance-notes.md](performance-notes.md) says what stands in the way, and what was tried.
"""
OF_A_RUN: Final = ("commit", "load")
"""What a machine's description says of one run: it stands with the run's figures, as does whatever else differs."""


def write(results: Sequence[Result], folder: Path) -> Path:
    """Write the page, and beside it a folder with each result and the plots of its latencies."""
    beside = folder / "performance"
    beside.mkdir(parents=True, exist_ok=True)
    machine = {name: value for name, value in results[0].machine.items() if name not in OF_A_RUN}
    parts = [HEAD, "## The machine\n", "| | |", "|---|---|", *(f"| {name} | {is_} |" for name, is_ in machine.items())]
    for result in results:
        work = f"{result.work[:1].upper()}{result.work[1:]}."
        parts += ["", f"## `{result.scenario}`\n", f"{work}\n", f"{_run(result, machine)}\n", *_table(result)]
        parts += [f"\n{note}" for note in result.notes]
        if any(histogram.total for histogram in result.times.values()):
            plot = beside / f"{result.scenario}.svg"
            plot.write_text(latencies(f"{result.scenario}: ms", result.times), encoding="utf-8")
            parts.append(f"\n![Latencies of {result.scenario}](performance/{plot.name})")
        result.write_as(beside / f"{result.scenario}.json")
    page = folder / "performance.md"
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return page


def _run(result: Result, machine: Mapping[str, str]) -> str:
    """Tell when, of which commit and under what load a result is, and where its machine was another than the page's."""
    own = [f"{name} {value}" for name, value in result.machine.items() if machine.get(name) != value]
    return f"{', '.join([result.at, *own])}."


def _table(result: Result) -> list[str]:
    lines = ["| | | | Target | |", "|---|--:|---|---|---|"]
    for figure in result.figures:
        verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
        lines.append(f"| {figure.name} | {shown(figure.value)} | {figure.unit} | {figure.target} | {verdict} |")
    return lines
