"""What a run leaves for people and programs: one screen, report.json, and a page that needs nothing from elsewhere."""

import re
from dataclasses import replace
from pathlib import Path

import orjson
from chatctl.verify import report
from chatctl.verify.case import Case
from chatctl.verify.history import Claimed, Fault
from chatctl.verify.properties import PROPERTIES
from chatctl.verify.run import Options, Run
from chatctl.verify.screen import told
from chatctl.verify.series import series_of
from chatctl.verify.verdict import verdict_on

from tests.chatctl.verify.good_run import good_run, with_fault

COMMAND = "./dev verify --seed 7"
FORGED = Claimed(2.15, "alice", "phone", 1, "bob", "alice", 1, 0)


def _run(*, broken: bool = False, blind: bool = False) -> Run:
    history, final = good_run()
    with_fault(history, "kill", "worker-1", 20.0, 22.0)
    if broken:
        history.observations = sorted([*history.observations, FORGED], key=lambda item: item.at_s)
    case = Case(history, replace(final, rows=None, members=None) if blind else final)
    options = Options(seed=7, duration_s=60, clients=4, kinds=("kill",), folder=Path())
    return Run(options, case, verdict_on(case), fallen=())


def test_the_screen_names_every_property_and_how_to_run_it_again() -> None:
    screen = told(_run(), COMMAND)
    assert all(one.name in screen for one in PROPERTIES)
    assert screen.endswith(f"the same again: {COMMAND}")
    assert "BROKEN" not in screen


def test_a_fault_that_could_not_be_inflicted_is_named_and_not_counted() -> None:
    run, spared = _run(), "not done: ConnectionRefusedError: down"
    assert "4 clients, 1 kinds of faults" in told(run, COMMAND)
    assert "not inflicted" not in told(run, COMMAND)
    for kind, why in (("clock", "unavailable: no faketime"), ("kill", spared)):
        run.case.history.faults.append(Fault(24.0, kind, "worker-2", begins=True, detail="for 1.0 s"))
        run.case.history.faults.append(Fault(25.0, kind, "worker-2", begins=False, detail=why))
    screen = told(run, COMMAND)
    assert "4 clients, 1 kinds of faults" in screen
    assert f"not inflicted: clock worker-2 (unavailable: no faketime), kill worker-2 ({spared})" in screen


def test_a_broken_property_is_told_with_the_frames_around_its_shortest_counter_example() -> None:
    screen = told(_run(broken=True), COMMAND)
    lines = screen.splitlines()
    place = next(n for n, line in enumerate(lines) if "BROKEN     nothing_is_claimed_unsaid" in line)
    example = "\n".join(lines[place : place + 16])
    assert re.search(r"> +2\.150 alice/phone#1 Claimed of=bob other=alice delivered=1 read=0", example)
    assert "Sending peer=bob id=a1" in example
    assert "1 broken" in screen


def test_what_nobody_could_read_is_told_as_not_asked() -> None:
    screen = told(_run(blind=True), COMMAND)
    assert "not asked  accepted_is_accounted_for: nobody could read rows" in screen


def test_what_a_run_has_too_little_of_is_told_as_not_asked_with_how_much_it_had(tmp_path: Path) -> None:
    run = _run()
    report.write(run, tmp_path, COMMAND)
    screen, why = told(run, COMMAND), "0 sends to compare, of 300 that it takes"
    assert f"not asked  a_stalled_client_moves_nobody: {why}" in screen
    assert f"all {len(PROPERTIES) - 1} properties held, 1 not asked" in screen
    [one] = [
        one
        for one in orjson.loads((tmp_path / "report.json").read_bytes())["properties"]
        if one["name"] == "a_stalled_client_moves_nobody"
    ]
    assert (one["verdict"], one["lacks"], one["not_asked"]) == ("not asked", [], why)
    assert why in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_shows_faults_and_curves_and_loads_nothing(tmp_path: Path) -> None:
    report.write(_run(broken=True), tmp_path, COMMAND)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 4
    assert "kill worker-1, 20.0 to 22.0 s" in page
    assert not re.search(r"(src|href)=|url\(|@import", page)


def test_the_json_report_says_the_same(tmp_path: Path) -> None:
    report.write(_run(broken=True), tmp_path, COMMAND)
    told_ = orjson.loads((tmp_path / "report.json").read_bytes())
    assert (told_["held"], told_["command"], told_["messages"]) == (False, COMMAND, 3)
    verdicts = {one["name"]: one["verdict"] for one in told_["properties"]}
    assert verdicts["nothing_is_claimed_unsaid"] == "broken"
    assert verdicts["numbers_have_no_holes"] == "held"


def test_the_curves_count_what_waits_and_what_is_confirmed() -> None:
    series = series_of(_run().case)
    assert sum(series.confirmed) == 3
    assert series.waiting[-1] == 0
    assert [(band.kind, band.begin_s) for band in series.faults] == [("kill", 20.0)]
