"""Owns how a dashboard of ours becomes Grafana's JSON: panels in rows of three, each with a unit and a description."""

import json
from dataclasses import dataclass
from typing import Any, Final

COLUMNS: Final = 3
WIDTH: Final = 8
HEIGHT: Final = 8
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA: Final = 39
"""Of Grafana's dashboards; Grafana 10.4 and later read it."""
MEDIAN_AND_LAST: Final = (0.5, 0.99)


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression, and how its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is one of Grafana's."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]

    def json(self) -> str:
        """Write it as Grafana takes it."""
        panels = [_panel(number, panel) for number, panel in enumerate(self.panels)]
        return json.dumps(_board(self, panels), indent=2, ensure_ascii=False) + "\n"


def rate(metric: str, by: str = "", *, where: str = "") -> str:
    """Sum the rate of a counter."""
    of = f"sum by ({by})" if by else "sum"
    return f"{of} (rate({metric}{where}[$__rate_interval]))"


def quantiles(metric: str, title: str, description: str, unit: str = "s") -> Panel:
    """Show the median and the 99th percentile of a histogram, over all processes."""
    queries = tuple(
        Query(f"histogram_quantile({q}, {rate(metric + '_bucket', 'le')})", f"p{q * 100:g}") for q in MEDIAN_AND_LAST
    )
    return Panel(title, description, unit, queries)


def lines(title: str, description: str, unit: str, *queries: tuple[str, str]) -> Panel:
    """Show series over time; each query with its legend."""
    return Panel(title, description, unit, tuple(Query(*query) for query in queries))


def figure(title: str, description: str, unit: str, expr: str) -> Panel:
    """Show one number."""
    return Panel(title, description, unit, (Query(expr, title),), kind="stat")


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": _options(panel),
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend}
            for at, query in enumerate(panel.queries)
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}


def _board(board: Board, panels: list[dict[str, Any]]) -> dict[str, Any]:
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0}
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["chat"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }
