"""Owns `smoke`: every scenario, as small as it can be: each does its work and loses nothing. Its times mean nothing."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from chatctl.bench.measure import Options
from chatctl.bench.result import Result
from chatctl.bench.scenarios.away import backlog, storm
from chatctl.bench.scenarios.grown import grown
from chatctl.bench.scenarios.idle import idle
from chatctl.bench.scenarios.life import life, light
from chatctl.bench.scenarios.peer import peer
from chatctl.bench.scenarios.steady import scale, steady

TINY: Final = Options(duration_s=1.0, warm_s=0.2)
"""Long enough that a window without any message means a fault, on a busy machine too."""
PEER: Final = "peer"
"""The one that needs a package beside what a stack needs."""
SMOKE: Final[Mapping[str, Callable[[Path], Awaitable[Result]]]] = {
    "life": lambda folder: life(folder, TINY, pairs=4, in_flight=2),
    "light": lambda folder: light(folder, TINY, pairs=2),
    "steady": lambda folder: steady(folder, TINY, connections=8, rate_per_s=40),
    "idle": lambda folder: idle(folder, TINY, connections=20, talkers=4, rate_per_s=20),
    "storm": lambda folder: storm(folder, TINY, devices=10, missed=3),
    "backlog": lambda folder: backlog(folder, TINY, missed=3_000),
    "grown": lambda folder: grown(folder, TINY, rows=200, pairs=4),
    "scale": lambda folder: scale(folder, TINY, pairs=4, in_flight=1, compositions=((1, 1), (2, 2))),
    PEER: lambda folder: peer(folder, TINY, pairs=4, in_flight=2),
}
WORK: Final = ("messages per second", "messages meanwhile", "devices back", "as the gateways count them")
"""How the names of figures end that say how much was done: in each scenario one at least, and none of them zero."""


def faults(result: Result) -> list[str]:
    """Name what a scenario lost that it was not to lose, and what it did not do at all; times are not looked at."""
    lost = [figure.name for figure in result.figures if figure.most == 0 and figure.value]
    work = [figure for figure in result.figures if figure.name.endswith(WORK)]
    undone = [f"{figure.name}: none" for figure in work if figure.value <= 0]
    return lost + undone if work else [*lost, "no figure says what was done"]
