"""Owns how a verdict is told on one screen: each property in a line, a broken one with its counter-example. Pure."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from chatctl.faults.nemesis import was_inflicted
from chatctl.verify.history import Fault, History, Observation
from chatctl.verify.run import Run
from chatctl.verify.verdict import Finding

MORE: Final = 3
"""Further violations of the same property that are told."""


def told(run: Run, command: str) -> str:
    """Return the verdict as lines."""
    return "\n".join(
        [*head_of(run), *(line for one in run.verdict.findings for line in _finding(run, one)), *_foot(run, command)]
    )


def head_of(run: Run) -> Iterator[str]:
    """Return what was run, in a few lines."""
    options, verdict, history = run.options, run.verdict, run.case.history
    kinds = len(inflicted(history))
    yield f"seed {options.seed}: {options.duration_s:.0f} s, {options.clients} clients, {kinds} kinds of faults"
    spared = [f"{fault.kind} {fault.target} ({fault.detail})" for fault in _spared(history)]
    if spared:
        yield f"not inflicted: {', '.join(spared)}"
    yield (
        f"{verdict.messages} messages, {verdict.connections} connections, {verdict.observations} observations;"
        f" send to sent p50 {verdict.send_p50_s * 1000:.0f} ms, p99 {verdict.send_p99_s * 1000:.0f} ms"
    )
    stall = verdict.stall
    if stall.samples:
        yield (
            f"others' p99 while one client stalled: {stall.stalled_s * 1000:.0f} ms, otherwise"
            f" {stall.usual_s * 1000:.0f} ms ({stall.ratio:.1f} times, of {stall.samples} sends and more)"
        )
    yield from (f"a device fell: {fallen}" for fallen in run.fallen)


def inflicted(history: History) -> set[str]:
    """Return the kinds of faults that were inflicted at least once."""
    return {fault.kind for fault in history.faults if not fault.begins and was_inflicted(fault.detail)}


def _spared(history: History) -> list[Fault]:
    return [fault for fault in history.faults if not fault.begins and not was_inflicted(fault.detail)]


def _finding(run: Run, one: Finding) -> Iterator[str]:
    if one.not_asked:
        yield f"  not asked  {one.asked.name}: {one.not_asked}"
    elif not one.broken:
        yield f"  held       {one.asked.name}"
    else:
        yield f"  BROKEN     {one.asked.name}: {one.asked.says}"
        yield f"             {len(one.violations)} times; the shortest: {one.violations[0].what}"
        shown = {id(item) for item in one.violations[0].shown_by}
        for item in one.around:
            yield f"             {'>' if id(item) in shown else ' '} {line_of(item, run.case.history.begun_s)}"
        yield from (f"             also: {violation.what}" for violation in one.violations[1 : 1 + MORE])


def line_of(item: Observation, begun_s: float) -> str:
    """Return an observation as a line."""
    own = {field.name for field in fields(Observation)}
    values = " ".join(f"{f.name}={getattr(item, f.name)}" for f in fields(item) if f.name not in own)
    return f"{item.at_s - begun_s:8.3f} {item.user}/{item.device}#{item.link} {type(item).__name__} {values}"


def _foot(run: Run, command: str) -> Iterator[str]:
    broken = len(run.verdict.broken)
    unasked = sum(1 for one in run.verdict.findings if one.not_asked)
    held = len(run.verdict.findings) - broken - unasked
    told = f"{held} held, {broken} broken" if broken else f"all {held} properties held"
    yield f"{told}, {unasked} not asked" if unasked else told
    yield f"the same again: {command}"
