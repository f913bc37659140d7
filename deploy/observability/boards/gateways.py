"""Owns the dashboard of the gateways: connections, frames, syncs, and their way through Redis."""

from typing import Final

from deploy.observability.panels import Board, lines, quantiles, rate

BOARD: Final = Board(
    uid="chat-gateways",
    title="Chat: gateways",
    description="Who is connected, what goes in and out, and whether each gateway hears Redis.",
    panels=(
        lines(
            "Connections",
            "Open, by gateway, and the number past which it refuses handshakes (0: none).",
            "short",
            ("chat_gateway_connections", "{{instance}}"),
            ("max(chat_gateway_connections_max)", "limit of each"),
        ),
        lines("Handshakes", "By result.", "ops", (rate("chat_gateway_handshakes_total", "result"), "{{result}}")),
        lines("Closes", "By close code.", "ops", (rate("chat_gateway_closes_total", "code"), "{{code}}")),
        lines(
            "Sent away",
            "Told to go elsewhere, by reason. unreachable: this gateway had lost Redis.",
            "ops",
            (rate("chat_gateway_sent_away_total", "reason"), "{{reason}}"),
        ),
        lines("Frames in", "By type.", "ops", (rate("chat_gateway_frames_in_total", "type"), "{{type}}")),
        lines("Frames out", "By type.", "ops", (rate("chat_gateway_frames_out_total", "type"), "{{type}}")),
        quantiles("chat_gateway_handshake_seconds", "Handshake", "Request to admission; accepted ones only."),
        lines(
            "Rate-limited and overloaded",
            "Sends beyond a connection's rate, and those that a full stream or queue refuses.",
            "ops",
            (rate("chat_gateway_errors_total", "code", where='{code=~"rate_limited|overloaded"}'), "{{code}}"),
        ),
        lines(
            "Slow readers",
            "Connections closed with 4408.",
            "ops",
            (rate("chat_gateway_slow_readers_total", "instance"), "{{instance}}"),
        ),
        lines("Outbound queued", "Waiting for slow readers.", "bytes", ("chat_gateway_queued_bytes", "{{instance}}")),
        lines("Syncs", "Begun, by cause.", "ops", (rate("chat_gateway_syncs_total", "cause"), "{{cause}}")),
        quantiles("chat_gateway_sync_seconds", "Sync", "From its begin to the queueing of its last page."),
        lines(
            "Waiting for Redis",
            "Acknowledgements not forwarded; partitions past their bound.",
            "short",
            ("sum(chat_gateway_ack_backlog)", "acknowledgements"),
            ("max(chat_gateway_partitions_overfull)", "overfull partitions"),
        ),
        quantiles("chat_gateway_pipeline_seconds", "Pipeline to Redis", "One round trip."),
        quantiles("chat_gateway_pipeline_commands", "Commands of a pipeline", "Rises with the load.", "short"),
        lines(
            "Probes and failures",
            "Probes missed on the gateway's own channel, pipelines that failed, publications that could not be read.",
            "ops",
            (rate("chat_gateway_probe_misses_total"), "probe misses"),
            (rate("chat_gateway_pipelines_failed_total"), "failed pipelines"),
            (rate("chat_gateway_publications_damaged_total"), "damaged publications"),
        ),
        lines(
            "Typing left out",
            "Typing frames that went without a word, by reason.",
            "ops",
            (rate("chat_gateway_typing_dropped_total", "reason"), "{{reason}}"),
        ),
        quantiles("chat_gateway_probe_seconds", "Probe", "From publishing it to hearing it."),
        lines(
            "Event loop lag, p99",
            "How late timers fire.",
            "s",
            (
                "histogram_quantile(0.99, "
                + rate("chat_event_loop_lag_seconds_bucket", "le, instance", where='{job="gateway"}')
                + ")",
                "{{instance}}",
            ),
        ),
        lines(
            "Processes",
            "CPU of each gateway, and its memory.",
            "short",
            (rate("process_cpu_seconds_total", "instance", where='{job="gateway"}'), "cores {{instance}}"),
            ('process_resident_memory_bytes{job="gateway"} / 2^30', "GiB {{instance}}"),
        ),
    ),
)
