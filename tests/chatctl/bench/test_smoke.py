"""The scenarios run and lose nothing. Their times mean nothing here and are not looked at."""

import shutil
from pathlib import Path

import pytest
from chatctl.bench.result import Result
from chatctl.bench.scenarios.smoke import PEER, SMOKE, lost

NEEDS_EJABBERD = pytest.mark.skipif(shutil.which("ejabberdctl") is None, reason="ejabberd is not installed")
SCENARIOS = [pytest.param(name, marks=NEEDS_EJABBERD) if name == PEER else name for name in SMOKE]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_runs_and_loses_nothing(name: str, tmp_path: Path) -> None:
    result = await SMOKE[name](tmp_path / "stack")
    assert result.scenario == name
    assert result.figures
    assert lost(result) == []
    assert Result.read(result.write(tmp_path)).table() == result.table()
