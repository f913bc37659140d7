"""Every alert fires, does not fire, and does the right thing where there are no series at all."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.alert_cases import CASES, Case, Series
from tests.observability.prometheus import ROOT, RULES, check_rules, promtool


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", *RULES)


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    assert ALERTS.keys() == CASES.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_its_page_is(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.is_file(), f"no page for {name}"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


def test_every_page_belongs_to_an_alert() -> None:
    pages = {path.name for path in (ROOT / "docs" / "runbooks").glob("Chat*.md")}
    assert pages == {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS.values()}


def _outcome(name: str, case: Case, series: Series, *, fires: bool, what: str) -> dict[str, Any]:
    query = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) > bool 0'
    return {
        "name": f"{name}: {what}",
        "interval": case.interval,
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": case.at, "exp_samples": [{"value": 1, "labels": "{}"}] if fires else []}
        ],
    }


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_does_not_fire_and_knows_what_absent_series_mean(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    check_rules(
        tmp_path,
        [
            _outcome(name, case, case.fires, fires=True, what="fires"),
            _outcome(name, case, case.quiet, fires=False, what="does not fire"),
            _outcome(name, case, {}, fires=case.fires_when_absent, what="absent series"),
        ],
        interval=case.interval,
    )
