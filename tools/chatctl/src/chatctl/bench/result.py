"""Owns what a scenario found: figures with their targets, as JSON and as a table."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson

from chatctl.bench.histogram import Histogram
from chatctl.failure import Failure
from chatctl.stack.executables import find

RESULTS: Final = Path("bench/results")
"""Where results go, seen from where the command runs; no part of the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that a scenario found."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it reaches its target; None without one."""
        if self.most is not None:
            return self.value <= self.most
        return None if self.least is None else self.value >= self.least

    @property
    def target(self) -> str:
        """The target as people read it."""
        if self.most is not None:
            return f"≤ {shown(self.most)}"
        return "" if self.least is None else f"≥ {shown(self.least)}"


def prefixed(name: str, figures: Iterable[Figure]) -> list[Figure]:
    """Say of figures which part of a scenario they are of."""
    return [replace(figure, name=f"{name}: {figure.name}") for figure in figures]


def machine() -> dict[str, str]:
    """Describe the machine, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "mariadb": _version(find("mariadbd", package="mariadb-server"), "--version"),
        "redis": _version(find("redis-server", package="redis-server"), "--version"),
        "commit": _version("git", "rev-parse", "--short", "HEAD"),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return "unknown"
    words = done.stdout.split() or ["unknown"]
    return next((word for word in words if re.match(r"(v=)?\d", word)), words[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run of a scenario found."""

    scenario: str
    work: str
    """What was done, in a line."""
    figures: Sequence[Figure]
    times: Mapping[str, Histogram] = field(default_factory=dict)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: Mapping[str, str] = field(default_factory=machine)
    notes: Sequence[str] = ()

    def write(self, folder: Path = RESULTS) -> Path:
        """Write it as `<date>-<scenario>.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.at.replace(':', '')[:17]}-{self.scenario}.json"
        self.write_as(path)
        return path

    def write_as(self, path: Path) -> None:
        """Write it under a name of the caller's."""
        values = asdict(self) | {"times": {name: histogram.dump() for name, histogram in self.times.items()}}
        path.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2) + b"\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote. Raises `Failure`."""
        try:
            values: dict[str, Any] = orjson.loads(path.read_bytes())
            values["figures"] = [Figure(**figure) for figure in values["figures"]]
            values["times"] = {name: Histogram.load(times) for name, times in values["times"].items()}
            return cls(**values)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Failure(f"{path} is no result: {error}", advice="name a file that a scenario wrote") from error

    def table(self) -> str:
        """Lay the figures out, each beside its target."""
        rows = [("", "", "", "target")]
        for figure in self.figures:
            verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
            rows.append((figure.name, shown(figure.value), figure.unit, f"{figure.target} {verdict}".strip()))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            f"{name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  {target}".rstrip()
            for name, value, unit, target in rows
        ]
        return "\n".join([f"{self.scenario}: {self.work}", *lines, *(f"note: {note}" for note in self.notes)])


def shown(value: float) -> str:
    """Write a number with three digits that mean something."""
    if value == int(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def compared(one: Result, other: Result) -> str:
    """Put two results side by side, with the ratio of each figure."""
    before = {figure.name: figure for figure in one.figures}
    lines = [f"{one.scenario} {one.at} → {other.scenario} {other.at}"]
    for figure in other.figures:
        old = before.get(figure.name)
        if old is not None:
            ratio = f"{figure.value / old.value:.3f}" if old.value else "-"
            values = f"{shown(old.value):>10} {shown(figure.value):>10} {figure.unit:<8}"
            lines.append(f"{figure.name:<40} {values} ratio {ratio}")
    return "\n".join(lines)
