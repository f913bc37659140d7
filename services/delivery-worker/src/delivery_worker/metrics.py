"""Owns the worker's metrics. Labels come from closed sets, never a user, a device or a message."""

from chatcore.errors import Code
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


class WorkerMetrics:
    """Every metric of the worker, declared once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.batch_events = Histogram("chat_batch_events", "Events in one batch", buckets=SIZES, registry=registry)
        self.commit_seconds = Histogram(
            "chat_commit_seconds", "From the fence to the answered COMMIT", buckets=SECONDS, registry=registry
        )
        self.publish_seconds = Histogram(
            "chat_publish_seconds", "Routes, publication and settling", buckets=SECONDS, registry=registry
        )
        self.stream_seconds = Histogram(
            "chat_stream_seconds",
            "From a gateway's packing to the commit, by both clocks",
            buckets=SECONDS,
            registry=registry,
        )
        self.messages = Counter("chat_messages_committed", "Messages committed", registry=registry)
        self.duplicates = Counter("chat_duplicates_suppressed", "Sends whose id was stored already", registry=registry)
        self.refused = Counter("chat_events_refused", "Events refused", ["code"], registry=registry)
        self.repeats = Counter("chat_batch_repeats", "Batches made again", ["reason"], registry=registry)
        self.fenced = Counter("chat_fences_hit", "Partitions found to be another's", registry=registry)
        self.takeovers = Counter("chat_takeovers", "Partitions taken over", registry=registry)
        self.dead = Counter("chat_dead_letters", "Frames given up on", registry=registry)
        self.owned = Gauge("chat_partitions_owned", "Partitions that this worker owns", registry=registry)
        self.pending = Gauge("chat_entries_pending", "Entries read and not settled", registry=registry)
        self.remembered = Gauge("chat_conversations_remembered", "Conversations in memory", registry=registry)
        self.syncs = Counter("chat_sync_pages", "Pages of syncs answered", ["cause"], registry=registry)
        self.requests = Counter("chat_requests", "Requests answered", ["kind"], registry=registry)
        self.requests_failed = Counter("chat_requests_failed", "Requests that a store failed on", registry=registry)
        self.requests_stale = Counter("chat_requests_stale", "Requests dropped, asked again since", registry=registry)
        self.request_seconds = Histogram(
            "chat_request_seconds", "From reading a request to its answer", buckets=SECONDS, registry=registry
        )
        for code in Code:
            self.refused.labels(code.value)
