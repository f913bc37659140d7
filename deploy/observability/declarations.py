"""Owns the page of all metrics, `docs/metrics.md`: written from the services' own declarations, never by hand."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chatcore.health import HealthServer
from chatcore.vitals import Vitals
from delivery_worker.metrics import WorkerMetrics
from gateway.metrics import GatewayMetrics
from presence.metrics import PresenceMetrics
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "metrics.md"
HEAD: Final = """# Metrics

Written by `.venv/bin/python -m deploy.observability.generate` from the declarations in `services/*/metrics.py` and
`libs/chatcore`; a test keeps it in step. Every service serves its own on `/metrics` of the port `CHAT_METRICS_PORT`.

Labels come from closed sets and stand at 0 from the start, never a user, a device or a message; the one that grows with
the system is `partition`. A histogram `x` is the series `x_bucket`, `x_sum` and `x_count`. A batch is observed once and
counts for each of its frames, so quantiles are of frames and not of batches, unless the description says otherwise.

Clocks: what lies between two processes is measured by Redis's clock, which each reads every 10 s (good to half a round
trip); `chat_gateway_sent_seconds` by the gateway's own clock from end to end; everything else by the monotonic clock of
one process.

## Where something waits for a connection

No task waits for a pool: each has a session on MySQL, and connections to Redis, of its own. What waits is what comes to
a task that is at work, and it is measured where it waits:

- for the one MySQL session of a worker's batches: entries, in the streams of its partitions
  (`chat_worker_stream_seconds`, `chat_worker_oldest_entry_age_seconds`);
- for the `CHAT_SYNC_CONNECTIONS` sessions of its requests: requests, in their stream
  (`chat_worker_request_wait_seconds`, `chat_worker_requests_backlog_entries`);
- for a gateway's one way to Redis: frames, in the gateway (`chat_gateway_accept_seconds` less
  `chat_gateway_pipeline_seconds`; `chat_gateway_ack_backlog`);
- for presence's one reader: events, in their stream (`chat_presence_lag_seconds`).

How near the sessions are to it, before anything waits: `chat_worker_mysql_sessions_busy_seconds_total` by
`chat_worker_mysql_sessions`.

## The age of the oldest confirmed message that has not arrived

`chat_worker_undelivered_age_seconds` is kept by the owner of a partition, in its memory. When a publication was
answered, each message in it whose recipient had an open connection is noted; the acknowledgement of any device of the
recipient that covers it takes it off, and its wait goes into `chat_worker_delivery_seconds`. Every 2 s the recipients
who have waited for more than 2 s are looked up: who has no live connection any more is no longer waited for (a sync
brings the message), and who is connected and acknowledged nothing for 15 min neither (a broken client). What the figure
does not know: messages that an earlier owner published before a takeover, and a second device of a recipient of whom
one device has acknowledged. A single client that never acknowledges raises it to 15 min, so alerts look at
`chat_worker_undelivered_late_recipients` too.
"""


def registries() -> dict[str, CollectorRegistry]:
    """Give every service's metrics, as they are at its start."""
    found: dict[str, CollectorRegistry] = {}
    for service, declare in (
        ("gateway", GatewayMetrics),
        ("delivery-worker", _worker),
        ("presence", PresenceMetrics),
    ):
        declare(registry := CollectorRegistry())
        found[service] = registry
    return found


def common() -> CollectorRegistry:
    """Give what every service tells."""
    registry = CollectorRegistry()
    Vitals(registry)
    HealthServer(host="", port=0, registry=registry, readiness=lambda: None).declare()
    return registry


def series() -> set[str]:
    """Name every series that a service exposes."""
    return {
        sample.name
        for registry in (common(), *registries().values())
        for family in registry.collect()
        for sample in family.samples
    }


def page() -> str:
    """Write the page."""
    parts = [HEAD]
    for service, registry in registries().items():
        parts.append(f"\n## {service}\n\n{_table(registry.collect())}")
    ours = [family for family in common().collect() if family.name.startswith("chat_")]
    parts.append(
        f"\n## Every service\n\nBeside Python's and the process's own (`python_*`, `process_*`):\n\n{_table(ours)}"
    )
    return "".join(parts)


def _worker(registry: CollectorRegistry) -> None:
    metrics = WorkerMetrics(registry)
    metrics.backlog.read = metrics.oldest.read = lambda: {"0": 0.0}
    metrics.sessions.read = metrics.sessions_busy.read = lambda: dict.fromkeys(("batches", "requests"), 0.0)


def _table(families: Iterable[Metric]) -> str:
    rows = ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {_labels(family)} | {family.documentation} |")
    return "\n".join(rows) + "\n"


def _labels(family: Metric) -> str:
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    return "; ".join(
        f"`{label}`" if label == "partition" else f"`{label}`: " + ", ".join(found) for label, found in values.items()
    )
