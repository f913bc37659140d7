"""`bench`: measures the system. Each scenario runs against a private stack of its own, and ends by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from chatctl.bench import report
from chatctl.bench.measure import Options
from chatctl.bench.result import Result, compared
from chatctl.bench.scenarios import away as aways
from chatctl.bench.scenarios import grown as growns
from chatctl.bench.scenarios import idle as idles
from chatctl.bench.scenarios import life as lives
from chatctl.bench.scenarios import peer as peers
from chatctl.bench.scenarios import smoke as smokes
from chatctl.bench.scenarios import steady as steadies
from chatctl.failure import Failure

app = App(name="bench", help="Measure the system: each scenario on a private stack, with its targets beside.")
STACKS: Final = Path("bench/stacks")
"""Where the private stacks keep their data: on the checkout's disk, since a folder in memory commits for nothing."""

Pairs = Annotated[int, Parameter(help="Pairs of users who talk.")]
InFlight = Annotated[int, Parameter(help="Messages that each pair has on its way at once.")]
Connections = Annotated[int, Parameter(help="Devices that are connected.")]
Rate = Annotated[float, Parameter(help="Messages a second, of all together.")]
Devices = Annotated[int, Parameter(help="Devices that return at once.")]
Missed = Annotated[int, Parameter(help="Messages that each of them missed.")]
Rows = Annotated[int, Parameter(help="Messages of the past.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Window:
    """What all scenarios can be told.

    Parameters
    ----------
    duration
        Seconds of the window that is measured.
    warm_up
        Seconds of the same load before it.
    gateways
        Gateway processes.
    workers
        Worker processes.
    generators
        Processes that make the load.
    profile
        Write a flame graph of each service too; it costs the server up to a tenth.
    """

    duration: float = 20.0
    warm_up: float = 5.0
    gateways: int = 1
    workers: int = 1
    generators: int = 1
    profile: Annotated[bool, Parameter(negative="")] = False

    @property
    def options(self) -> Options:
        """The same for the scenarios."""
        return Options(
            duration_s=self.duration,
            warm_s=self.warm_up,
            gateways=self.gateways,
            workers=self.workers,
            generators=self.generators,
            profile=self.profile,
        )


@app.default
def bench(
    *, compare: Annotated[tuple[Path, Path] | None, Parameter(help="Print the ratios of two results.")] = None
) -> None:
    """Compare two results; without arguments, show the scenarios."""
    if compare is None:
        app.help_print()
        return
    print(compared(Result.read(compare[0]), Result.read(compare[1])))


@app.command
def life(*, pairs: Pairs = 300, in_flight: InFlight = 4, window: Window = Window()) -> None:
    """Measure the whole life of messages under much load."""
    _run(lambda folder: lives.life(folder, window.options, pairs=pairs, in_flight=in_flight))


@app.command
def light(*, pairs: Pairs = 20, window: Window = Window()) -> None:
    """Measure the whole life of messages under little load."""
    _run(lambda folder: lives.light(folder, window.options, pairs=pairs))


@app.command
def steady(*, connections: Connections = 2_000, rate: Rate = 1_000, window: Window = Window(duration=60)) -> None:
    """Measure latencies of messages that are sent at times of their own, whatever the server does."""
    _run(lambda folder: steadies.steady(folder, window.options, connections=connections, rate_per_s=rate))


@app.command
def idle(*, connections: Connections = 50_000, window: Window = Window(duration=60)) -> None:
    """Measure silent connections, and `steady` beside them."""
    _run(lambda folder: idles.idle(folder, window.options, connections=connections))


@app.command
def storm(*, devices: Devices = 10_000, missed: Missed = 5, window: Window = Window()) -> None:
    """Measure the return of many devices that were cut at once."""
    _run(lambda folder: aways.storm(folder, window.options, devices=devices, missed=missed))


@app.command
def backlog(*, missed: Missed = 100_000, window: Window = Window()) -> None:
    """Measure the return of one device that missed very much."""
    _run(lambda folder: aways.backlog(folder, window.options, missed=missed))


@app.command
def grown(*, rows: Rows = 10_000_000, pairs: Pairs = 300, window: Window = Window()) -> None:
    """Measure `life` on an empty database, and on one with a long past."""
    _run(lambda folder: growns.grown(folder, window.options, rows=rows, pairs=pairs))


@app.command
def scale(*, pairs: Pairs = 300, in_flight: InFlight = 4, window: Window = Window()) -> None:
    """Measure `life` with more gateways and workers than one each."""
    _run(lambda folder: steadies.scale(folder, window.options, pairs=pairs, in_flight=in_flight))


@app.command
def peer(*, pairs: Pairs = 300, in_flight: InFlight = 4, window: Window = Window()) -> None:
    """Measure `life` beside ejabberd from Debian, with its archive on the same MariaDB and without one."""
    _run(lambda folder: peers.peer(folder, window.options, pairs=pairs, in_flight=in_flight))


@app.command
def smoke() -> None:
    """Run every scenario as small as it can be, to see that all of them work. Its times mean nothing."""
    found = [f"{name}: {what}" for name, run in smokes.SMOKE.items() for what in smokes.faults(_run(run, keep=False))]
    if found:
        raise Failure("\n".join(found), advice="what was lost or left undone says which promise to look at")


@app.command
def page(*results: Path) -> None:
    """Write docs/performance.md from results that scenarios wrote when they were run one by one."""
    print(f"written to {report.write([Result.read(path) for path in results], Path('docs'))}")


@app.command(name="all")
def everything(*, connections: int = 50_000, rows: int = 10_000_000, duration: float = 20.0) -> None:
    """Measure everything, one scenario after the other, and write `docs/performance.md`: half an hour.

    Parameters
    ----------
    connections
        Of `idle`.
    rows
        Messages of `grown`.
    duration
        Seconds of each window; `steady` and `idle` take three times as many.
    """
    short, long = Window(duration=duration).options, Window(duration=3 * duration).options
    found = [
        _run(lambda folder: lives.life(folder, short)),
        _run(lambda folder: lives.light(folder, short)),
        _run(lambda folder: steadies.steady(folder, long)),
        _run(lambda folder: idles.idle(folder, long, connections=connections)),
        _run(lambda folder: aways.storm(folder, short)),
        _run(lambda folder: aways.backlog(folder, short)),
        _run(lambda folder: growns.grown(folder, short, rows=rows)),
        _run(lambda folder: steadies.scale(folder, short)),
        _run(lambda folder: peers.peer(folder, short)),
    ]
    print(f"written to {report.write(found, Path('docs'))}")


def _run(scenario: Callable[[Path], Awaitable[Result]], *, keep: bool = True) -> Result:
    STACKS.mkdir(parents=True, exist_ok=True)

    async def run() -> Result:
        return await scenario((STACKS / "one").resolve())

    result = asyncio.run(run())
    print(result.table(), flush=True)
    if keep:
        print(f"written to {result.write()}", flush=True)
    return result
