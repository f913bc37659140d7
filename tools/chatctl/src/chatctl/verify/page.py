"""Owns report.html: the verdict with its picture on one page that needs nothing from anywhere else. Pure."""

from collections.abc import Iterator
from html import escape
from typing import Final

from chatctl.verify.picture import picture_of
from chatctl.verify.run import Run
from chatctl.verify.screen import head_of, line_of
from chatctl.verify.series import series_of
from chatctl.verify.verdict import Finding

STYLE: Final = """
:root { color-scheme: light dark; --ink: #222; --faint: #777; --bad: #b3261e; --good: #2e7d32; --line: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --faint: #999; --bad: #ff8a80; --good: #81c784; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1040px; margin: 2em auto; padding: 0 1em; }
svg text { font-size: 11px; fill: var(--ink); } svg .faint { fill: var(--faint); }
.grid, .base { stroke: #8884; } .calm { stroke: var(--good); stroke-dasharray: 4 3; }
.fault { fill: var(--bad); opacity: .75; }
.curve, .tail { fill: none; stroke: var(--line); stroke-width: 1.4; } .tail { stroke: #c77d0a; }
table { border-collapse: collapse; width: 100%; } td { padding: .2em .6em .2em 0; vertical-align: top; }
.held { color: var(--good); } .broken { color: var(--bad); font-weight: 600; } .asked { color: var(--faint); }
pre { font-size: 12px; overflow-x: auto; background: #8881; padding: .6em; }
"""
MORE: Final = 10


def page_of(run: Run, command: str) -> str:
    """Return the whole page."""
    broken = len(run.verdict.broken)
    title = f"{broken} broken" if broken else "every property that was asked held"
    head = "".join(f"<p>{escape(line)}</p>" for line in head_of(run))
    rows = "".join(_rows(run))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>verify: {title}</title><style>{STYLE}</style>'
        f"<h1>{title.capitalize()}</h1>{head}{picture_of(series_of(run.case))}"
        "<p>Red: faults. Green line: everything is ready again. Blue: the curve, and the median; orange: the 99th"
        f" percentile.</p><table>{rows}</table><p>The same again:</p><pre>{escape(command)}</pre></html>"
    )


def _rows(run: Run) -> Iterator[str]:
    for one in run.verdict.findings:
        style = "asked" if one.not_asked else "broken" if one.broken else "held"
        told = "not asked" if one.not_asked else style
        yield (
            f'<tr><td class="{style}">{told}</td><td>{escape(one.asked.name)}</td>'
            f"<td>{escape(one.asked.says)}{_more(run, one)}</td></tr>"
        )


def _more(run: Run, one: Finding) -> str:
    if one.not_asked:
        return f"<br>Not asked: {escape(one.not_asked)}."
    if not one.broken:
        return ""
    lines = [violation.what for violation in one.violations[:MORE]]
    around = [line_of(item, run.case.history.begun_s) for item in one.around]
    return f"<pre>{escape(chr(10).join([f'{len(one.violations)} times', *lines, '', *around]))}</pre>"
