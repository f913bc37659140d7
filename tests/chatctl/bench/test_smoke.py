"""The scenarios run and lose nothing. Their times mean nothing here and are not looked at."""

from pathlib import Path

from chatctl.bench.measure import Options
from chatctl.bench.result import Result
from chatctl.bench.scenarios.away import backlog, storm
from chatctl.bench.scenarios.grown import grown
from chatctl.bench.scenarios.idle import idle
from chatctl.bench.scenarios.life import life, light
from chatctl.bench.scenarios.steady import scale, steady

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


async def test_steady_runs_and_loses_nothing(tmp_path: Path) -> None:
    assert_nothing_is_lost(await steady(tmp_path / "stack", TINY, connections=8, rate_per_s=40))


def figures_of(result: Result) -> dict[str, float]:
    return {figure.name: figure.value for figure in result.figures}


async def test_all_devices_of_a_storm_return_and_get_what_they_missed(tmp_path: Path) -> None:
    figures = figures_of(await storm(tmp_path / "stack", TINY, devices=10, missed=3))
    assert figures["devices back"] == 10
    assert figures["messages that did not come"] == 0


async def test_a_backlog_comes_whole(tmp_path: Path) -> None:
    assert figures_of(await backlog(tmp_path / "stack", TINY, missed=3_000))["messages that did not come"] == 0


async def test_idle_connections_stay(tmp_path: Path) -> None:
    result = await idle(tmp_path / "stack", TINY, connections=20, talkers=4, rate_per_s=20)
    assert figures_of(result)["connections lost"] == 0


async def test_a_grown_database_is_lived_on(tmp_path: Path) -> None:
    assert figures_of(await grown(tmp_path / "stack", TINY, rows=200, pairs=4))["grown against empty"] > 0


async def test_more_processes_are_compared_with_one_each(tmp_path: Path) -> None:
    result = await scale(tmp_path / "stack", TINY, pairs=4, in_flight=1, compositions=((1, 1), (2, 2)))
    assert figures_of(result)["1 gateway(s), 1 worker(s): against one each"] == 1
