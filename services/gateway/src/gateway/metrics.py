"""Owns the gateway's metrics. Labels come from closed sets; never a user, a device or a message."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class GatewayMetrics:
    """Every metric of the gateway, declared once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge("chat_gateway_connections", "Open connections", registry=registry)
        self.handshakes = Counter("chat_gateway_handshakes", "Handshakes by result", ["result"], registry=registry)
        self.closes = Counter("chat_gateway_closes", "Closed connections, by code", ["code"], registry=registry)
        self.frames_in = Counter("chat_gateway_frames_in", "Frames from clients", ["type"], registry=registry)
        self.errors = Counter("chat_gateway_errors", "Error frames to clients", ["code"], registry=registry)
        self.records = Counter("chat_gateway_records", "Records that were published to it", ["kind"], registry=registry)
        self.pipeline_commands = Histogram(
            "chat_gateway_pipeline_commands", "Commands of one pipeline", buckets=SIZES, registry=registry
        )
        self.pipeline_seconds = Histogram(
            "chat_gateway_pipeline_seconds", "Answer to one pipeline", buckets=SECONDS, registry=registry
        )
        self.pipelines_failed = Counter("chat_gateway_pipelines_failed", "Pipelines without answer", registry=registry)
        self.probe_misses = Counter("chat_gateway_probe_misses", "Probes not heard in time", registry=registry)
        self.resyncs = Counter("chat_gateway_syncs", "Syncs asked for, by cause", ["cause"], registry=registry)
        self.slow_readers = Counter("chat_gateway_slow_readers", "Connections too slow to read", registry=registry)
        self.acks_dropped = Counter("chat_gateway_acks_dropped", "Acknowledgements past the bound", registry=registry)
        self._queued = Gauge("chat_gateway_queued_bytes", "Bytes that wait for slow readers", registry=registry)
        self._ack_backlog = Gauge("chat_gateway_ack_backlog", "Acknowledgements not forwarded", registry=registry)

    def measure(self, *, queued_bytes: Callable[[], float], ack_backlog: Callable[[], float]) -> None:
        """Name what is looked at when it is scraped."""
        self._queued.set_function(queued_bytes)
        self._ack_backlog.set_function(ack_backlog)
