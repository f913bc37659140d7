"""Owns the worker's metrics, declared once. Labels come from closed sets, never a user, a device or a message."""

from typing import Final

from chatcore.errors import Code
from chatcore.instruments import SIZES, Distribution, Readings, Tally, Totals
from chatcore.stream import ConversationsRequest, HistoryRequest, SyncRequest
from prometheus_client import CollectorRegistry, Counter, Gauge

REPEATS: Final = ("store", "rolled_back", "taken", "poison")
ENDS: Final = ("offline", "silent", "full", "disowned")
REQUESTS: Final = {SyncRequest: "sync", HistoryRequest: "history", ConversationsRequest: "conversations"}
DATABASE_CODES: Final = frozenset({1020, 1040, 1053, 1062, 1114, 1205, 1213, 1290, 1836, 2006, 2013})
"""Error numbers of MySQL that are counted by themselves."""


class WorkerMetrics:
    """Every metric of the worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._declare_batches(registry)
        self._declare_outcomes(registry)
        self._declare_delivery(registry)
        self._declare_ownership(registry)
        self._declare_requests(registry)
        self._declare_sessions(registry)

    def database_error(self, code: int) -> None:
        """Count an error of MySQL by its number; 0: it did not answer."""
        known = str(code) if code in DATABASE_CODES else "other"
        self.database_errors.counts[known if code else "no_answer"] += 1

    def _declare_batches(self, registry: CollectorRegistry) -> None:
        self.batch_events = Distribution(
            "chat_worker_batch_events", "Events in one batch.", bounds=SIZES, registry=registry
        )
        self.stream_seconds = Distribution(
            "chat_worker_stream_seconds",
            "From a gateway's XADD to the batch that takes the event, by Redis's clock; each event counts.",
            registry=registry,
        )
        self.commit_seconds = Distribution(
            "chat_worker_commit_seconds", "From the fence to the answered COMMIT; each batch counts.", registry=registry
        )
        self.publish_seconds = Distribution(
            "chat_worker_publish_seconds",
            "From the answered COMMIT to the answered publication and settling; each batch counts.",
            registry=registry,
        )
        self.messages = Counter("chat_worker_messages", "Messages committed.", registry=registry)

    def _declare_outcomes(self, registry: CollectorRegistry) -> None:
        self.duplicates = Counter(
            "chat_worker_duplicates_suppressed", "Sends whose id was stored already.", registry=registry
        )
        self.refused = Tally(
            "chat_worker_events_refused",
            "Events refused. ack_ahead: acknowledgements beyond the last number.",
            "code",
            [code.value for code in Code],
            registry=registry,
        )
        self.repeats = Tally(
            "chat_worker_batch_repeats",
            "Batches made again. store: one did not answer; rolled_back: by MySQL; taken: an id or number was; "
            "poison: halved to find the event at fault.",
            "reason",
            REPEATS,
            registry=registry,
        )
        self.database_errors = Tally(
            "chat_worker_database_errors",
            "Statements that MySQL refused or did not answer, by its error number.",
            "code",
            (*map(str, sorted(DATABASE_CODES)), "other", "no_answer"),
            registry=registry,
        )
        self.dead = Counter("chat_worker_dead_letters", "Frames given up on.", registry=registry)
        self.pending = Gauge("chat_worker_entries_pending", "Entries read and not settled.", registry=registry)
        self.remembered = Gauge("chat_worker_conversations_remembered", "Conversations in memory.", registry=registry)

    def _declare_delivery(self, registry: CollectorRegistry) -> None:
        self.delivery_seconds = Distribution(
            "chat_worker_delivery_seconds",
            "From a message's publication to a recipient with an open connection until a device of the recipient "
            "acknowledged it; each message counts.",
            registry=registry,
        )
        self.undelivered_age = Gauge(
            "chat_worker_undelivered_age_seconds",
            "Age of the oldest message that was answered with sent and published to a recipient with an open "
            "connection, and that no device of the recipient has acknowledged. 0: there is none. Only messages that "
            "this worker published itself since it owns their partition.",
            registry=registry,
        )
        self.undelivered = Gauge(
            "chat_worker_undelivered_recipients",
            "Recipients, counted per conversation, of such messages.",
            registry=registry,
        )
        self.undelivered_late = Gauge(
            "chat_worker_undelivered_late_recipients",
            "Those of them that have waited for 10 s and still have a live connection, as last looked at.",
            registry=registry,
        )
        self.undelivered_ends = Tally(
            "chat_worker_undelivered_forgotten",
            "Recipients of such messages no longer waited for. offline: they have no live connection any more; "
            "silent: connected, and no acknowledgement for 15 min; full: too many to remember; disowned: the "
            "partition is another worker's now.",
            "reason",
            ENDS,
            registry=registry,
        )

    def _declare_ownership(self, registry: CollectorRegistry) -> None:
        self.partitions = Gauge("chat_worker_partitions", "Partitions of the whole system.", registry=registry)
        self.owned = Gauge("chat_worker_partitions_owned", "Partitions that this worker owns.", registry=registry)
        self.fenced = Counter(
            "chat_worker_fences_hit", "Partitions found in mid-batch to be another's.", registry=registry
        )
        self.takeovers = Counter("chat_worker_takeovers", "Partitions taken over.", registry=registry)
        self.backlog = Readings(
            "chat_worker_backlog_entries",
            "Entries in the stream of a partition that this worker owns (XLEN), as last looked at.",
            "partition",
            registry=registry,
        )
        self.oldest = Readings(
            "chat_worker_oldest_entry_age_seconds",
            "Age of the oldest unsettled entry that this worker has read, by Redis's clock, of a partition that it "
            "owns. 0: nothing waits.",
            "partition",
            registry=registry,
        )

    def _declare_requests(self, registry: CollectorRegistry) -> None:
        self.requests = Tally(
            "chat_worker_requests",
            "Requests answered.",
            "kind",
            REQUESTS.values(),
            registry=registry,
        )
        self.requests_failed = Counter(
            "chat_worker_requests_failed", "Requests that a store failed on.", registry=registry
        )
        self.requests_stale = Counter(
            "chat_worker_requests_stale", "Entries of requests dropped, asked again since.", registry=registry
        )
        self.requests_backlog = Gauge(
            "chat_worker_requests_backlog_entries",
            "Entries in the stream of requests (XLEN), over all workers.",
            registry=registry,
        )
        self.request_wait = Distribution(
            "chat_worker_request_wait_seconds",
            "From a gateway's XADD of requests until a MySQL session was free for them, by Redis's clock.",
            registry=registry,
        )
        self.request_seconds = Distribution(
            "chat_worker_request_seconds",
            "From the free session to the answer; each request counts.",
            registry=registry,
        )

    def _declare_sessions(self, registry: CollectorRegistry) -> None:
        self.sessions = Readings(
            "chat_worker_mysql_sessions",
            "Sessions on MySQL. batches: of commits and takeovers; requests: of syncs, histories and lists.",
            "kind",
            registry=registry,
        )
        self.sessions_busy = Totals(
            "chat_worker_mysql_sessions_busy_seconds",
            "Seconds in which the sessions of that kind were in use, all together. As many a second as there are "
            "sessions: what comes waits.",
            "kind",
            registry=registry,
        )
