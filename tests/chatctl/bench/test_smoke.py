"""The scenarios do their work and lose nothing. Their times mean nothing here and are not looked at."""

from pathlib import Path

import pytest
from chatctl.bench.result import Figure, Result
from chatctl.bench.scenarios.smoke import PEER, SMOKE, faults
from chatctl.failure import Failure
from chatctl.stack.executables import find


def _has_ejabberd() -> bool:
    try:
        find("ejabberdctl", package="ejabberd")
    except Failure:
        return False
    return True


def result(*figures: Figure) -> Result:
    return Result(scenario="life", work="a life", figures=figures, machine={})


@pytest.mark.parametrize("name", SMOKE)
async def test_a_scenario_does_its_work_and_loses_nothing(name: str, tmp_path: Path) -> None:
    if name == PEER and not _has_ejabberd():
        pytest.skip("ejabberd is not installed: `./dev bench smoke` installs it, and asks of it what this test does")
    found = await SMOKE[name](tmp_path / "stack")
    assert found.scenario == name
    assert faults(found) == []
    assert Result.read(found.write(tmp_path)).table() == found.table()


def test_a_scenario_that_did_nothing_is_faulty() -> None:
    lost_nothing = Figure(name="errors to clients", value=0, unit="", most=0)
    idled = Figure(name="2 gateway(s): messages per second", value=0, unit="1/s")
    assert faults(result(lost_nothing, idled)) == ["2 gateway(s): messages per second: none"]


def test_a_scenario_that_does_not_say_what_it_did_is_faulty() -> None:
    cost = Figure(name="server CPU per message", value=92, unit="µs", most=150)
    assert faults(result(cost)) == ["no figure says what was done"]


def test_a_scenario_that_lost_a_message_is_faulty() -> None:
    work = Figure(name="messages per second", value=10, unit="1/s", least=7_000)
    lost = Figure(name="messages without a receipt", value=1, unit="", most=0)
    assert faults(result(work, lost)) == ["messages without a receipt"]
    assert faults(result(work)) == []
