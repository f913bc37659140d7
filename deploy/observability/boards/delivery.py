"""Owns the dashboard that says whether the product works: the way of a message, hop by hop, and the objectives."""

from typing import Final

from deploy.observability.panels import Board, figure, lines, quantiles, rate

BOARD: Final = Board(
    uid="chat-delivery",
    title="Chat: delivery",
    description="Does a message that was confirmed arrive, and how long does each hop take?",
    panels=(
        figure(
            "Oldest undelivered message",
            "Age of the oldest confirmed message without an acknowledgement of a connected recipient. Above seconds: "
            "look at the recipients who wait.",
            "s",
            "chat:undelivered_age_seconds:max",
        ),
        figure(
            "Recipients who wait",
            "Connected recipients without an acknowledgement for 10 s.",
            "short",
            "sum(chat_worker_undelivered_late_recipients)",
        ),
        figure("Connections", "Open connections of all gateways.", "short", "chat:connections:sum"),
        lines(
            "Messages",
            "Committed, and retries of ids that were stored already.",
            "ops",
            (rate("chat_worker_messages_total"), "committed"),
            (rate("chat_worker_duplicates_suppressed_total"), "duplicates suppressed"),
        ),
        quantiles(
            "chat_gateway_sent_seconds",
            "Send to sent",
            "From a client's frame to the queueing of its answer, the whole way. The objective is 99 % under 0.5 s.",
        ),
        quantiles(
            "chat_worker_delivery_seconds",
            "Publication to acknowledgement",
            "Connected recipients only, the clients' networks included. The objective is 99.5 % under 5 s.",
        ),
        quantiles(
            "chat_gateway_accept_seconds", "1. Client frame to stream", "Gateway to the answered XADD, for each send."
        ),
        quantiles("chat_worker_stream_seconds", "2. Stream to worker", "XADD to the batch, for each event."),
        quantiles("chat_worker_commit_seconds", "3. Commit", "Fence to answered COMMIT, for each batch."),
        quantiles("chat_worker_publish_seconds", "4. Publish", "COMMIT to answered publication, for each batch."),
        quantiles("chat_gateway_push_seconds", "5. Publication to socket", "For each frame of a worker."),
        lines(
            "Undelivered recipients no longer waited for",
            "offline: they left; silent: connected and without an acknowledgement for 15 min.",
            "ops",
            (rate("chat_worker_undelivered_forgotten_total", "reason"), "{{reason}}"),
        ),
        lines(
            "Objectives, missed share in 5 min",
            "0.1 % of requests may fail, 1 % of sends be slow, 0.5 % of deliveries be late.",
            "percentunit",
            ("chat:send_errors:ratio_rate5m", "failed requests"),
            ("chat:slow_sends:ratio_rate5m", "slow sends"),
            ("chat:late_deliveries:ratio_rate5m", "late deliveries"),
        ),
        lines(
            "Error frames",
            "By code; made by gateways and by workers.",
            "ops",
            (rate("chat_gateway_errors_total", "code"), "gateway {{code}}"),
            (rate("chat_worker_events_refused_total", "code"), "worker {{code}}"),
        ),
        lines(
            "Given up",
            "Frames in the dead letters, acknowledgements dropped by gateways. Both should be flat.",
            "short",
            ("sum(chat_worker_dead_letters_total)", "dead letters"),
            ("sum(chat_gateway_acks_dropped_total)", "acknowledgements dropped"),
        ),
    ),
)
