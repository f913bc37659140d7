"""Owns what is seen of the server from outside: CPU time and memory from `/proc`, pauses from the services' metrics.

Linux only. It must cost the server nothing while a window is measured: metrics are read before and after it.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from chatctl.stack.stack_file import ProcessEntry, Role, StackFile

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
ROLES: Final[tuple[Role, ...]] = ("gateway", "worker", "presence", "redis", "mysql")
LAG: Final = "chat_event_loop_lag_seconds_bucket"
PAUSE: Final = "chat_gc_pause_seconds_bucket"

Samples = Mapping[str, float]
"""By a sample's name and labels."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The server at one moment."""

    cpu_s: Mapping[str, float]
    """By process."""
    rss_bytes: Mapping[str, int]
    metrics: Mapping[str, Samples]


@dataclass(frozen=True, slots=True)
class Window:
    """The server between two moments."""

    seconds: float
    cpu_s: Mapping[Role, float]
    """By role, all its processes together."""
    rss_bytes: Mapping[Role, int]
    """At its end."""
    longest_lag_s: float
    """Upper bound of the bucket of the latest timer, over all services."""
    longest_gc_s: float
    metrics: Mapping[str, Samples]
    """By process: what each counter and bucket rose by."""

    @property
    def total_cpu_s(self) -> float:
        """Of all roles."""
        return sum(self.cpu_s.values())


class Probe:
    """Looks at one stack."""

    def __init__(self, stack: StackFile) -> None:
        self._running = [process for process in stack.processes if process.pid is not None]

    async def begin(self) -> Sight:
        """Look, the CPU time last: what looking costs lies before the window."""
        metrics = await self._metrics()
        return self._sight(metrics)

    async def end(self) -> Sight:
        """Look, the CPU time first."""
        sight = self._sight({})
        return Sight(sight.cpu_s, sight.rss_bytes, await self._metrics())

    async def read(self, metric: str) -> dict[str, float]:
        """Give a gauge without labels as it stands, by process."""
        metrics = await self._metrics()
        return {name: samples[metric] for name, samples in metrics.items() if metric in samples}

    def memory(self) -> dict[Role, int]:
        """Give the resident memory by role, in bytes."""
        return self._by_role(rss_bytes)

    def peak_memory(self) -> dict[Role, int]:
        """Give the most that was ever resident, in bytes: by role, the peaks of its processes together."""
        return self._by_role(peak_rss_bytes)

    def pids(self) -> list[tuple[str, int]]:
        """Name the services' processes."""
        return [(entry.name, entry.pid) for entry in self._running if entry.pid is not None and entry.metrics_url]

    def window(self, begin: Sight, end: Sight, seconds: float) -> Window:
        """Give what happened between two looks."""
        cpu_s: dict[Role, float] = {}
        rss_bytes: dict[Role, int] = {}
        for entry in self._running:
            cpu_s[entry.role] = cpu_s.get(entry.role, 0.0) + end.cpu_s[entry.name] - begin.cpu_s[entry.name]
            rss_bytes[entry.role] = rss_bytes.get(entry.role, 0) + end.rss_bytes[entry.name]
        metrics = {name: _risen(begin.metrics[name], end.metrics[name]) for name in end.metrics}
        lags, pauses = (_longest(metrics.values(), bucket) for bucket in (LAG, PAUSE))
        return Window(seconds, cpu_s, rss_bytes, lags, pauses, metrics)

    def _by_role(self, read: Callable[[int], int]) -> dict[Role, int]:
        found: dict[Role, int] = {}
        for entry in self._running:
            found[entry.role] = found.get(entry.role, 0) + read(entry.pid or 0)
        return found

    def _sight(self, metrics: Mapping[str, Samples]) -> Sight:
        return Sight(
            {entry.name: cpu_s(entry.pid or 0) for entry in self._running},
            {entry.name: rss_bytes(entry.pid or 0) for entry in self._running},
            metrics,
        )

    async def _metrics(self) -> dict[str, Samples]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            services = [entry for entry in self._running if entry.metrics_url]
            read = await asyncio.gather(*(_scrape(session, entry) for entry in services))
        return {entry.name: samples for entry, samples in zip(services, read, strict=True)}


def cpu_s(pid: int) -> float:
    """Give the CPU time of a process, all its threads together (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """Give the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def peak_rss_bytes(pid: int) -> int:
    """Give the most that was ever resident of a process (proc(5): VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("\nVmHWM:")[2].split(maxsplit=1)[0]) * 1024


async def _scrape(session: aiohttp.ClientSession, entry: ProcessEntry) -> Samples:
    async with session.get(entry.metrics_url or "") as response:
        text = await response.text()
    return {
        sample.name + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _risen(begin: Samples, end: Samples) -> Samples:
    return {name: value - begin.get(name, 0.0) for name, value in end.items()}


def _longest(metrics: Iterable[Samples], bucket: str) -> float:
    """Give the bound of the highest bucket that anything fell into."""
    longest = 0.0
    for samples in metrics:
        below = 0.0
        buckets = [(name, count) for name, count in samples.items() if name.startswith(f"{bucket},le=")]
        for bound, count in sorted((float(name.rpartition("=")[2]), count) for name, count in buckets):
            if count > below:
                longest = max(longest, bound)
            below = max(below, count)
    return longest
