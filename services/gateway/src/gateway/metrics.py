"""Owns the gateway's metrics, declared once. Labels come from closed sets; never a user, a device or a message."""

from collections.abc import Callable
from typing import Final, get_args

from chatcore.errors import Close, Code, Refusal
from chatcore.frames import ClientFrame
from chatcore.instruments import SIZES, Distribution, Tally
from chatcore.server_frames import server_frame_types
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.leaving import Reason

ACCEPTED: Final = "accepted"
CLOSES: Final = frozenset({1000, *map(int, Close)})
FRAMES_IN: Final = {kind: get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(ClientFrame)}
"""The `type` of each frame that a client sends."""
FRAMES_OUT: Final = [get_args(kind.model_fields["type"].annotation)[0] for kind in server_frame_types()]
"""The `type` of each frame that a client is sent."""
TYPING_DROPS: Final = ("full", "stale")
CAUSES: Final = ("connect", "gap", "wipe", "return", "periodic")


class GatewayMetrics:
    """Every metric of the gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._declare_connections(registry)
        self._declare_frames(registry)
        self._declare_hops(registry)
        self._declare_ways(registry)
        self._declare_subscription(registry)
        self._declare_syncs(registry)

    def refused(self, code: Code) -> None:
        """Count an error frame."""
        self.errors.counts[code.value] += 1
        self.frames_out.counts["error"] += 1

    def forwarded(self, commands: int, sends: int, *, left_s: float, came_s: float) -> None:
        """Take one pipeline's round trip: how long ago it left, and the first frame of its turn came."""
        self.pipeline_commands.observe(commands)
        self.pipeline_seconds.observe(left_s)
        if sends:
            self.accept_seconds.observe(came_s, sends)

    def closed(self, code: int) -> None:
        """Count a closed connection."""
        self.closes.counts[str(int(code)) if code in CLOSES else "other"] += 1

    def measure(self, *, queued_bytes: Callable[[], float], ack_backlog: Callable[[], float]) -> None:
        """Name what is looked at when it is scraped."""
        self._queued.set_function(queued_bytes)
        self._ack_backlog.set_function(ack_backlog)

    def _declare_connections(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge("chat_gateway_connections", "Open connections.", registry=registry)
        self.connections_max = Gauge(
            "chat_gateway_connections_max",
            "Connections past which handshakes are refused; 0: no limit.",
            registry=registry,
        )
        self.handshakes = Tally(
            "chat_gateway_handshakes",
            "Handshakes by result.",
            "result",
            (ACCEPTED, *[refusal.value for refusal in Refusal]),
            registry=registry,
        )
        self.handshake_seconds = Distribution(
            "chat_gateway_handshake_seconds",
            "From a request to its admission by a worker; accepted ones only.",
            registry=registry,
        )
        self.closes = Tally(
            "chat_gateway_closes",
            "Connections that ended, by close code; 1001 also for those that were aborted.",
            "code",
            (*map(str, sorted(CLOSES)), "other"),
            registry=registry,
        )
        self.sent_away = Tally(
            "chat_gateway_sent_away",
            "Connections told to go elsewhere, by reason; those that stay are closed with 1012 2 s after their time.",
            "reason",
            [reason.value for reason in Reason],
            registry=registry,
        )
        self.slow_readers = Counter(
            "chat_gateway_slow_readers", "Connections closed because they were too slow to read.", registry=registry
        )
        self._queued = Gauge(
            "chat_gateway_queued_bytes", "Bytes that wait for slow readers, over all connections.", registry=registry
        )

    def _declare_frames(self, registry: CollectorRegistry) -> None:
        self.frames_in = Tally(
            "chat_gateway_frames_in", "Frames from clients.", "type", FRAMES_IN.values(), registry=registry
        )
        self.frames_out = Tally(
            "chat_gateway_frames_out",
            "Frames to clients, as queued for their sockets.",
            "type",
            (*FRAMES_OUT, "other"),
            registry=registry,
        )
        self.errors = Tally(
            "chat_gateway_errors",
            "Error frames that this gateway made itself; a worker's own are chat_worker_events_refused_total.",
            "code",
            [code.value for code in Code],
            registry=registry,
        )

    def _declare_hops(self, registry: CollectorRegistry) -> None:
        self.accept_seconds = Distribution(
            "chat_gateway_accept_seconds",
            "From the first frame of a turn to the answered XADD of its sends; each send counts.",
            registry=registry,
        )
        self.sent_seconds = Distribution(
            "chat_gateway_sent_seconds",
            "From the first frame of a turn to the queueing of the answers to its sends, the whole way through Redis, "
            "worker and MySQL; each send counts.",
            registry=registry,
        )
        self.push_seconds = Distribution(
            "chat_gateway_push_seconds",
            "From a worker's publication to the queueing of its frames, by Redis's clock; each frame counts.",
            registry=registry,
        )

    def _declare_ways(self, registry: CollectorRegistry) -> None:
        self.pipeline_commands = Distribution(
            "chat_gateway_pipeline_commands", "Commands of one pipeline.", bounds=SIZES, registry=registry
        )
        self.pipeline_seconds = Distribution(
            "chat_gateway_pipeline_seconds", "One round trip of a pipeline to Redis.", registry=registry
        )
        self.pipelines_failed = Counter(
            "chat_gateway_pipelines_failed", "Pipelines that failed, or of which a command did.", registry=registry
        )
        self.acks_dropped = Counter(
            "chat_gateway_acks_dropped", "Acknowledgements that went because too many waited.", registry=registry
        )
        self.typing_dropped = Tally(
            "chat_gateway_typing_dropped",
            "Typing frames that went without a word. full: too many events waited; stale: Redis did not take them.",
            "reason",
            TYPING_DROPS,
            registry=registry,
        )
        self._ack_backlog = Gauge(
            "chat_gateway_ack_backlog", "Acknowledgements that wait to be forwarded.", registry=registry
        )
        self.overfull = Gauge(
            "chat_gateway_partitions_overfull",
            "Partitions whose stream is past its bound: sends to them get overloaded.",
            registry=registry,
        )

    def _declare_subscription(self, registry: CollectorRegistry) -> None:
        self.publications_damaged = Counter(
            "chat_gateway_publications_damaged",
            "Publications that could not be read to their end; a sync of everybody heals what was lost.",
            registry=registry,
        )
        self.probe_misses = Counter("chat_gateway_probe_misses", "Probes not heard in time.", registry=registry)
        self.probe_seconds = Distribution(
            "chat_gateway_probe_seconds", "From publishing a probe to hearing it.", registry=registry
        )

    def _declare_syncs(self, registry: CollectorRegistry) -> None:
        self.syncs = Tally(
            "chat_gateway_syncs",
            "Syncs begun, by cause. gap: the subscription was made anew; wipe: Redis lost everything; return: the "
            "connection was silent for long.",
            "cause",
            CAUSES,
            registry=registry,
        )
        self.sync_seconds = Distribution(
            "chat_gateway_sync_seconds", "From beginning a sync to the queueing of its last page.", registry=registry
        )
