"""The scenarios run and lose nothing. Their times mean nothing here and are not looked at."""

from pathlib import Path

from chatctl.bench.measure import Options
from chatctl.bench.result import Result
from chatctl.bench.scenarios.life import life, light

TINY = Options(duration_s=0.5, warm_s=0.2)


def assert_nothing_is_lost(result: Result) -> None:
    figures = {figure.name: figure.value for figure in result.figures}
    assert figures["errors to clients"] == 0
    assert not figures.keys() & {"messages without a receipt", "holes", "connections lost"}
    assert result.times["receipt"].total > 0


async def test_life_runs_and_loses_nothing(tmp_path: Path) -> None:
    result = await life(tmp_path / "stack", TINY, pairs=4, in_flight=2)
    assert_nothing_is_lost(result)
    assert Result.read(result.write(tmp_path)).table() == result.table()


async def test_light_runs_and_loses_nothing(tmp_path: Path) -> None:
    assert_nothing_is_lost(await light(tmp_path / "stack", TINY, pairs=2))
