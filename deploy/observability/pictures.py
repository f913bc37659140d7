"""Owns the pictures of dashboards: an SVG of what a Prometheus answers to a board's queries. No dates, no host names.

`python -m deploy.observability.pictures http://127.0.0.1:9090 [SECONDS] [FOLDER]` draws the last seconds.
"""

import json
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from deploy.observability.declarations import ROOT
from deploy.observability.generate import BOARDS
from deploy.observability.panels import COLUMNS, Board, Panel

FOLDER: Final = ROOT / "docs" / "pictures"
WINDOW_S: Final = 60
DEFAULTS: Final = (str(WINDOW_S), str(FOLDER))
POINTS: Final = 60
INTERVAL: Final = "10s"
"""What stands for Grafana's `$__rate_interval`: four scrapes at least, of one every 2 s."""
PANEL: Final = (320, 150)
PLOT: Final = (8, 30, 304, 82)
"""Left, top, width, height inside a panel."""
MOST: Final = 8
"""Series drawn in one panel."""
COLOURS: Final = ("#3b78c3", "#d1662b", "#4d9a4f", "#a0469a", "#b59a1d", "#2b9a9a", "#c2405b", "#6b6b6b")
STYLE: Final = (
    "<style>text{font:10px sans-serif;fill:#222}.t{font-weight:bold;font-size:11px}.b{font-size:26px}"
    "rect{fill:#fff;stroke:#ccc}polyline{fill:none;stroke-width:1.5}</style>"
)

Ask = Callable[[str], list[Any]]
"""Gives the series of a range query, as the HTTP API of Prometheus does."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, and pairs of time and value."""

    name: str
    points: Sequence[tuple[float, float]]


def asker(url: str, *, window_s: float) -> Ask:
    """Ask a Prometheus for the last `window_s` seconds."""
    end = time.time()
    step = max(1.0, window_s / POINTS)
    times = {"start": f"{end - window_s:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}

    def ask(expr: str) -> list[Any]:
        query = urllib.parse.urlencode({"query": expr.replace("$__rate_interval", INTERVAL), **times})
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{query}", timeout=20) as answer:  # noqa: S310 - the caller's own Prometheus
            found: list[Any] = json.load(answer)["data"]["result"]
            return found

    return ask


def picture(board: Board, ask: Ask) -> str:
    """Draw a board."""
    rows = -(-len(board.panels) // COLUMNS)
    width, height = COLUMNS * PANEL[0], rows * PANEL[1] + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        STYLE,
        f'<text class="t" x="8" y="16">{escape(board.title)}</text>',
    ]
    for number, panel in enumerate(board.panels):
        row, column = divmod(number, COLUMNS)
        parts.append(f'<g transform="translate({column * PANEL[0]},{row * PANEL[1] + 24})">')
        parts += [f'<rect width="{PANEL[0] - 4}" height="{PANEL[1] - 4}"/>', *_drawn(panel, _lines(panel, ask)), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lines(panel: Panel, ask: Ask) -> list[Line]:
    lines = []
    for query in panel.queries:
        for series in ask(query.expr):
            points = [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf")]
            if points:
                lines.append(Line(_named(query.legend, series["metric"]), points))
    # The largest; but a panel of many flat ones shows these.
    return sorted(lines, key=lambda line: -max(value for _, value in line.points))[:MOST]


def _named(legend: str, labels: Mapping[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def _drawn(panel: Panel, lines: Sequence[Line]) -> list[str]:
    title = f'<text class="t" x="8" y="16">{escape(panel.title)}</text>'
    if not lines:
        return [title, '<text x="8" y="60">nothing was observed</text>']
    top = max(max(value for _, value in line.points) for line in lines)
    if panel.kind == "stat":
        return [title, f'<text class="b" x="8" y="70">{escape(_amount(lines[0].points[-1][1], panel.unit))}</text>']
    return [
        title,
        f'<text x="{PANEL[0] - 12}" y="16" text-anchor="end">{escape(_amount(top, panel.unit))}</text>',
        *[_polyline(line, top, _range(lines), colour) for line, colour in zip(lines, COLOURS, strict=False)],
        *_legend(lines),
    ]


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    times = [at for line in lines for at, _ in line.points]
    return min(times), max(times)


def _polyline(line: Line, top: float, times: tuple[float, float], colour: str) -> str:
    left, upper, width, height = PLOT
    first, last = times
    points = " ".join(
        f"{left + width * (at - first) / max(last - first, 1e-9):.1f},{upper + height * (1 - value / (top or 1)):.1f}"
        for at, value in line.points
    )
    return f'<polyline points="{points}" stroke="{colour}"/>'


def _legend(lines: Sequence[Line]) -> list[str]:
    parts, x, y = [], 8, 126
    for line, colour in zip(lines, COLOURS, strict=False):
        width = 12 + 6 * len(line.name)
        if x + width > PANEL[0] - 12:
            x, y = 8, y + 12
        if y > PANEL[1] - 8:
            break
        parts.append(f'<text x="{x}" y="{y}" style="fill:{colour}">{escape(line.name)}</text>')
        x += width
    return parts


def _amount(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    for size, word in ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
        if unit in ("bytes", "Bps") and value >= size:
            return f"{value / size:.3g} {word}B" + ("/s" if unit == "Bps" else "")
    return f"{value:.4g}" + ("/s" if unit == "ops" else "")


def draw(url: str, folder: Path, *, window_s: float = WINDOW_S) -> None:
    """Draw all boards."""
    folder.mkdir(parents=True, exist_ok=True)
    ask = asker(url, window_s=window_s)
    for board in BOARDS:
        (folder / f"{board.uid}.svg").write_text(picture(board, ask), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Be the command."""
    if not arguments:
        sys.exit(f"usage: {__doc__}")
    url, window_s, folder = [*arguments, *DEFAULTS[len(arguments) - 1 :]][:3]
    draw(url, Path(folder), window_s=float(window_s))


if __name__ == "__main__":
    main(sys.argv[1:])
