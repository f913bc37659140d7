"""Owns one measurement: a load that is warm, a window of time, and what the server and the clients did in it."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from time import monotonic
from typing import Final

from chatctl.bench.fleet import Fleet
from chatctl.bench.job import Job, LoadName, Tally
from chatctl.bench.probe import ROLES, Probe, Window
from chatctl.bench.profile import Profile
from chatctl.bench.result import Figure
from chatctl.failure import Failure
from chatctl.stack.stack_file import StackFile

GENERATOR_MOST_US: Final = 40.0
"""CPU of the generators per message under much load; under little, their wake-ups are what they cost."""
HOPS: Final[Mapping[str, str]] = {
    "in the gateway and by XADD": "chat_gateway_accept_seconds",
    "in the stream, behind the batch before": "chat_worker_stream_seconds",
    "plan and commit": "chat_worker_commit_seconds",
    "routes, publication and settling": "chat_worker_publish_seconds",
    "from the publication to the socket": "chat_gateway_push_seconds",
}
"""What the services measure of a message's way, in its order."""
NO_TARGETS: Final[Mapping[float, float]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What all scenarios can be told."""

    duration_s: float
    """Of a window."""
    warm_s: float
    """Of the load before the window."""
    gateways: int = 1
    workers: int = 1
    generators: int = 1
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened in a window."""

    window: Window
    tally: Tally
    missing: dict[str, int]
    """What was promised and had not come at the end of the load, by name."""

    @property
    def messages(self) -> int:
        """Messages whose life ended in the window."""
        return self.tally.counts.get("messages", 0)

    @property
    def rate_per_s(self) -> float:
        """Of these messages."""
        return self.messages / self.window.seconds

    def cost_us(self, cpu_s: float) -> float:
        """Give a CPU time per message."""
        return cpu_s / max(1, self.messages) * 1e6


def job_for(stack: StackFile, load: LoadName, count: int) -> Job:
    """Make the whole of a load against a stack, with users that nobody has met."""
    return Job(
        load=load,
        urls=tuple(stack.gateway_urls()),
        secret=stack.jwt.secret,
        audience=stack.jwt.audience,
        issuer=stack.jwt.issuer,
        prefix=f"u{secrets.token_hex(4)}",
        first=0,
        count=count,
    )


def shares(job: Job, generators: int) -> list[Job]:
    """Spread a load over generators."""
    bounds = [job.count * index // generators for index in range(generators + 1)]
    return [
        replace(job, first=job.first + begin, count=end - begin, rate_per_s=job.rate_per_s * (end - begin) / job.count)
        for begin, end in pairwise(bounds)
        if end > begin
    ]


async def measure(stack: StackFile, job: Job, options: Options, *, name: str) -> Measured:
    """Run a load, and look at it once it is warm. Raises `Failure`."""
    probe = Probe(stack)
    async with Fleet(shares(job, options.generators)) as fleet:
        await fleet.start()
        await asyncio.sleep(options.warm_s)
        profile = Profile(probe.pids(), name) if options.profile else None
        begin = await probe.begin()
        began = monotonic()
        await fleet.mark()
        await asyncio.sleep(options.duration_s)
        seconds, end = monotonic() - began, await probe.end()
        tally = await fleet.mark()
        if profile is not None:
            profile.end()
        missing = await fleet.finish()
    require_work(tally, missing, name=name)
    return Measured(probe.window(begin, end, seconds), tally, missing)


def require_work(tally: Tally, missing: Mapping[str, int], *, name: str) -> None:
    """Refuse a window in which no life of a message ended: it measured nothing. Raises `Failure`."""
    if not tally.counts.get("messages"):
        counted = {**tally.counts, **missing}
        raise Failure(
            f"{name}: no message came to its end in the window", advice=f"see what was counted instead: {counted}"
        )


def cost_figures(
    measured: Measured, *, most_us: float | None = None, generator_most_us: float | None = None
) -> list[Figure]:
    """Give the cost of a message, whole and by role."""
    window = measured.window
    whole = Figure(name="server CPU per message", value=measured.cost_us(window.total_cpu_s), unit="µs", most=most_us)
    roles = [
        Figure(name=f"- {role}", value=measured.cost_us(window.cpu_s[role]), unit="µs")
        for role in ROLES
        if role in window.cpu_s
    ]
    generator = measured.cost_us(measured.tally.cpu_s)
    return [whole, *roles, Figure(name="generator CPU per message", value=generator, unit="µs", most=generator_most_us)]


def time_figures(measured: Measured, name: str, *, most_ms: Mapping[float, float] = NO_TARGETS) -> list[Figure]:
    """Give the percentiles of a latency; targets by percentile."""
    histogram = measured.tally.time(name)
    return [
        Figure(
            name=f"send→{name} p{percent:g}",
            value=histogram.percentile_ms(percent),
            unit="ms",
            most=most_ms.get(percent),
        )
        for percent in (50, 99, 99.9)
    ]


def hop_figures(measured: Measured) -> list[Figure]:
    """Give the mean time of each hop of a message: a profile of the latency."""
    return [
        Figure(name=f"- {name}, mean", value=_mean(measured.window, metric) * 1e3, unit="ms")
        for name, metric in HOPS.items()
    ]


def memory_figures(window: Window) -> list[Figure]:
    """Give the resident memory of each role at the window's end."""
    return [
        Figure(name=f"memory of {role}", value=window.rss_bytes[role] / 2**20, unit="MiB")
        for role in ROLES
        if role in window.rss_bytes
    ]


def health_figures(measured: Measured) -> list[Figure]:
    """Give the pauses of the services, and what went wrong."""
    window = measured.window
    return [
        Figure(name="events per batch", value=_mean(window, "chat_worker_batch_events"), unit=""),
        Figure(name="commit, mean", value=_mean(window, "chat_worker_commit_seconds") * 1e3, unit="ms"),
        Figure(name="publication, mean", value=_mean(window, "chat_worker_publish_seconds") * 1e3, unit="ms"),
        Figure(name="longest event-loop pause, below", value=window.longest_lag_s * 1e3, unit="ms"),
        Figure(name="longest collection, below", value=window.longest_gc_s * 1e3, unit="ms"),
        *fault_figures(measured.tally, measured.missing),
    ]


def work_figures(measured: Measured) -> list[Figure]:
    """Give what was done, and what went wrong: what is said at least of every part of a scenario."""
    rate = Figure(name="messages per second", value=measured.rate_per_s, unit="1/s")
    return [rate, *fault_figures(measured.tally, measured.missing)]


def fault_figures(tally: Tally, missing: Mapping[str, int]) -> list[Figure]:
    """Give what went wrong: clients were told of no error, and nothing is missing."""
    errors = sum(count for name, count in tally.counts.items() if name.startswith("error "))
    return [
        Figure(name="errors to clients", value=errors, unit="", most=0),
        *(Figure(name=name, value=count, unit="", most=0) for name, count in missing.items()),
    ]


def _mean(window: Window, metric: str) -> float:
    total = sum(samples.get(f"{metric}_sum", 0.0) for samples in window.metrics.values())
    return total / max(1.0, sum(samples.get(f"{metric}_count", 0.0) for samples in window.metrics.values()))
