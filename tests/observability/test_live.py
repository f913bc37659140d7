"""What a real Prometheus makes of a running system: every metric, every query of every dashboard and rule."""

import asyncio
import math
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import aiohttp
import pytest

from deploy.observability import declarations, pictures
from deploy.observability.generate import BOARDS
from deploy.observability.panels import Panel
from tests.harness.stack import Stack
from tests.observability.conftest import MESSAGES
from tests.observability.live import Prometheus
from tests.observability.prometheus import promtool
from tests.observability.test_rules import rules

PANELS = [(board.uid, panel) for board in BOARDS for panel in board.panels]
INTERVAL = "30s"
NUMBERLESS = {"Garbage collection", "MySQL buffer pool"}
"""Panels of a ratio whose both sides may well be 0 in a young, small system."""
NAME = re.compile(r"\b(?:chat|redis|mysql|process|python)_[a-z0-9_]+")
SUFFIX = re.compile(r"_(?:bucket|sum|count|created|total)$")
ELSEWHERE = re.compile(r"^(redis|mysql)_")


async def test_promtool_is_content_with_the_metrics_of_every_service(stack: Stack) -> None:
    urls = [process.metrics_url for process in stack.processes() if process.metrics_url is not None]
    assert len(urls) == 5
    async with aiohttp.ClientSession() as session:
        for url in urls:
            async with session.get(url) as answer:
                text = await answer.text()
            assert await asyncio.to_thread(promtool, "check", "metrics", text=text) == ""


async def test_every_process_is_scraped(chatting: Prometheus) -> None:
    up = await chatting.query("up")
    assert sorted(series["metric"]["job"] for series in up if series["value"][1] == "1") == sorted(
        ["gateway", "gateway", "delivery-worker", "delivery-worker", "presence", "redis", "mysql"]
    )


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=lambda one: getattr(one, "title", one))
async def test_no_panel_is_empty(chatting: Prometheus, uid: str, panel: Panel) -> None:
    assert panel.unit
    assert panel.description.endswith(".")
    for query in panel.queries:
        found = await chatting.query(query.expr.replace("$__rate_interval", INTERVAL))
        assert found, f"{uid}: {query.expr}"
        numbers = [float(series["value"][1]) for series in found]
        assert panel.title in NUMBERLESS or not all(math.isnan(number) for number in numbers), query.expr
        for label in re.findall(r"{{(\w+)}}", query.legend):
            assert all(label in series["metric"] for series in found), query.legend


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule.get("alert") or rule["record"]))
async def test_every_metric_of_a_rule_is_one_that_is_scraped(chatting: Prometheus, rule: dict[str, str]) -> None:
    known = declarations.series()
    for name in set(NAME.findall(rule["expr"])):
        assert name in known or ELSEWHERE.match(name), f"no service has {name}"
        assert await chatting.query(name), f"nobody tells {name}"


def test_every_metric_of_a_dashboard_is_declared() -> None:
    known = declarations.series()
    for _, panel in PANELS:
        for query in panel.queries:
            for name in set(NAME.findall(query.expr)):
                assert name in known or ELSEWHERE.match(name), f"no service has {name}"


def test_every_metric_of_ours_is_on_a_dashboard() -> None:
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    shown = [query.expr for _, panel in PANELS for query in panel.queries]
    shown += [expr for name, expr in recorded.items() if any(name in expr for expr in shown)]
    named = {SUFFIX.sub("", name) for expr in shown for name in NAME.findall(expr)}
    ours = {SUFFIX.sub("", name) for name in declarations.series() if name.startswith("chat_")}
    assert not ours - named, "on no dashboard"


async def test_a_healthy_system_raises_no_alert(chatting: Prometheus) -> None:
    assert await chatting.query('ALERTS{alertstate="firing"}') == []


async def test_what_was_chatted_is_counted(chatting: Prometheus) -> None:
    async def total(expr: str) -> float:
        return float((await chatting.query(expr))[0]["value"][1])

    for told in (
        "sum(chat_worker_messages_total)",
        "sum(chat_gateway_sent_seconds_count)",
        'sum(chat_gateway_frames_out_total{type="message"})',
    ):
        await chatting.until(f"{told} >= {MESSAGES}")  # the last scrape may be older than the last message
    assert await total("sum(chat_worker_delivery_seconds_count)") > 0


async def test_every_dashboard_is_drawn_from_what_prometheus_answers(chatting: Prometheus, tmp_path: Path) -> None:
    """`CHAT_TEST_PICTURES=docs/pictures` keeps the pictures."""
    folder = Path(os.environ.get("CHAT_TEST_PICTURES", tmp_path))
    await asyncio.to_thread(pictures.draw, chatting.url, folder, window_s=30)
    for board in BOARDS:
        root = ElementTree.fromstring((folder / f"{board.uid}.svg").read_text(encoding="utf-8"))
        drawn = [element for element in root.iter() if element.tag.endswith("polyline")]
        assert len(drawn) >= len([panel for panel in board.panels if panel.kind != "stat"]) // 2
