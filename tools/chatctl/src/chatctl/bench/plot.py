"""Owns the drawing of latencies: their distribution as an SVG. Pure."""

from collections.abc import Mapping
from html import escape
from math import log10
from typing import Final

from chatctl.bench.histogram import Histogram

WIDTH: Final = 720
HEIGHT: Final = 320
LEFT: Final = 60
BOTTOM: Final = 40
TOP: Final = 30
COLOURS: Final = ("#1b6ca8", "#c0392b", "#2e7d32", "#8e44ad")
PERCENTS: Final = (0, 50, 90, 99, 99.9, 99.99)
"""The ticks of the lower axis: each step to the right leaves a tenth of what was left."""


def latencies(title: str, times: Mapping[str, Histogram]) -> str:
    """Draw how long the given share of all took at most; both axes are logarithmic."""
    drawn = {name: histogram for name, histogram in times.items() if histogram.total}
    highest_ms = max((histogram.percentile_ms(99.99) for histogram in drawn.values()), default=1.0)
    top = max(1.0, log10(max(highest_ms, 1e-2)) + 2.1)
    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>', *_axes(top)]
    for index, (name, histogram) in enumerate(drawn.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(
            f"{_x(percent):.1f},{_y(histogram.percentile_ms(percent), top):.1f}"
            for percent in (100 * (1 - 10 ** (-step / 20)) for step in range(1, 81))
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 12}" y="{TOP + 18 * (index + 1)}" fill="{colour}">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        f' font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _axes(top: float) -> list[str]:
    parts = []
    for percent in PERCENTS:
        x = _x(percent)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 12:.1f}" y="{HEIGHT - BOTTOM + 16}">{percent:g}%</text>')
    for power in range(-2, int(top) - 1):
        y = _y(10.0**power, top)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="6" y="{y + 4:.1f}">{10.0**power:g} ms</text>')
    return parts


def _x(percent: float) -> float:
    return LEFT + (WIDTH - 20 - LEFT) * -log10(max(1e-4, 1 - percent / 100)) / 4


def _y(ms: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (log10(max(ms, 1e-2)) + 2) / top
