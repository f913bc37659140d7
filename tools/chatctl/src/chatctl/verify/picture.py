"""Owns the picture of a run as SVG: the faults on a time line, and the curves under it, on one axis. Pure."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from chatctl.verify.series import Band, Series

WIDTH: Final = 1000
LEFT: Final = 150
"""Pixels for the names of the rows."""
ROW: Final = 14
"""Pixels of one kind of fault."""
CURVE: Final = 90
"""Pixels of one curve."""
GAP: Final = 26
LEAST: Final = 3
"""Pixels of the shortest fault."""
TICKS_S: Final = (5, 10, 30, 60, 120)


def picture_of(series: Series) -> str:
    """Return the picture as one SVG element."""
    kinds = sorted({band.kind for band in series.faults})
    top = GAP + ROW * len(kinds) + GAP
    curves = (
        ("confirmed a second", [("curve", series.confirmed)]),
        ("without an answer", [("curve", series.waiting)]),
        ("send to sent, ms", [("curve", series.p50_ms), ("tail", series.p99_ms)]),
    )
    height = top + len(curves) * (CURVE + GAP)
    parts = [*_axis(series, height), *_faults(series, kinds)]
    for place, (name, lines) in enumerate(curves):
        parts += _curve(series, name, lines, top + place * (CURVE + GAP))
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="course of the run">{"".join(parts)}</svg>'


def _x(series: Series, at_s: float) -> float:
    return LEFT + (WIDTH - LEFT - 10) * min(max(at_s, 0), series.length_s) / series.length_s


def _axis(series: Series, height: int) -> Iterator[str]:
    step = next((tick for tick in TICKS_S if series.length_s / tick <= 14), TICKS_S[-1])
    for at_s in range(0, series.length_s + 1, step):
        x = _x(series, at_s)
        yield f'<line class="grid" x1="{x:.1f}" y1="16" x2="{x:.1f}" y2="{height}"/>'
        yield f'<text x="{x:.1f}" y="12" text-anchor="middle">{at_s} s</text>'
    if series.calm_s is not None:
        x = _x(series, series.calm_s)
        yield f'<line class="calm" x1="{x:.1f}" y1="16" x2="{x:.1f}" y2="{height}"><title>calm</title></line>'


def _faults(series: Series, kinds: Sequence[str]) -> Iterator[str]:
    for row, kind in enumerate(kinds):
        y = GAP + row * ROW
        yield f'<text x="{LEFT - 6}" y="{y + ROW - 4}" text-anchor="end">{escape(kind)}</text>'
        yield from (_bar(series, band, y) for band in series.faults if band.kind == kind)


def _bar(series: Series, band: Band, y: int) -> str:
    begin, end = _x(series, band.begin_s), _x(series, band.end_s)
    told = f"{band.kind} {band.target}, {band.begin_s:.1f} to {band.end_s:.1f} s"
    width = max(end - begin, LEAST)
    return (
        f'<rect class="fault" x="{begin:.1f}" y="{y + 2}" width="{width:.1f}" height="{ROW - 4}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _curve(series: Series, name: str, lines: Sequence[tuple[str, Sequence[float]]], top: int) -> Iterator[str]:
    highest = max([1.0, *(value for _, values in lines for value in values)])
    yield f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{escape(name)}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + 24}" text-anchor="end" class="faint">at most {highest:.0f}</text>'
    yield f'<line class="base" x1="{LEFT}" y1="{top + CURVE}" x2="{WIDTH - 10}" y2="{top + CURVE}"/>'
    for style, values in lines:
        points = " ".join(
            f"{_x(series, second + 0.5):.1f},{top + CURVE - CURVE * value / highest:.1f}"
            for second, value in enumerate(values)
        )
        yield f'<polyline class="{style}" points="{points}"/>'
