from pathlib import Path
from xml.etree import ElementTree

from chatctl.bench import report
from chatctl.bench.histogram import Histogram
from chatctl.bench.result import Figure, Result, compared


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
