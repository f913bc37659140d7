"""Results as a table, as `docs/performance.md`, as plots, as files, and side by side."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from chatctl.bench import report
from chatctl.bench.histogram import Histogram
from chatctl.bench.result import Figure, Result, compared

PUBLISHED = sorted((Path(__file__).parents[3] / "docs" / "performance").glob("*.json"))


def result(cost_us: float) -> Result:
    times = Histogram()
    for number in range(1, 2_000):
        times.record(number / 10_000)
    figure = Figure(name="server CPU per message", value=cost_us, unit="µs", most=150)
    return Result(scenario="life", work="a life", figures=[figure], times={"sent": times}, machine={"cores": "2"})


def test_a_missed_target_is_said(tmp_path: Path) -> None:
    page = report.write([result(170)], tmp_path).read_text(encoding="utf-8")
    assert "| server CPU per message | 170 | µs | ≤ 150 | **missed** |" in page
    assert "MISSED" in result(170).table()


def test_a_plot_is_an_image_and_the_result_lies_beside_it(tmp_path: Path) -> None:
    report.write([result(100)], tmp_path)
    assert ElementTree.parse(tmp_path / "performance" / "life.svg").getroot().tag.endswith("svg")
    assert Result.read(tmp_path / "performance" / "life.json").figures == [*result(100).figures]


def test_two_results_are_compared_by_their_ratios() -> None:
    assert "ratio 0.500" in compared(result(100), result(50))


def test_no_figure_stands_under_the_commit_of_another(tmp_path: Path) -> None:
    one, other = ({"cores": "2", "commit": commit, "load": load} for commit, load in (("aaa", "1.00"), ("bbb", "7.00")))
    results = [replace(result(100), machine=one), replace(result(90), scenario="light", machine=other)]
    machine, life, light = report.write(results, tmp_path).read_text(encoding="utf-8").split("\n## ")[1:]
    assert "cores" in machine
    assert "aaa" not in machine
    assert "commit aaa, load 1.00." in life
    assert "commit bbb, load 7.00." in light


def test_a_run_on_another_machine_says_where_that_differs(tmp_path: Path) -> None:
    elsewhere = replace(result(90), scenario="light", machine={"cores": "64"})
    assert "cores 64." in report.write([result(100), elsewhere], tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_what_an_earlier_version_wrote_is_still_read(path: Path, tmp_path: Path) -> None:
    read = Result.read(path)
    assert f"## `{read.scenario}`" in report.write([read], tmp_path).read_text(encoding="utf-8")
