"""Owns the dashboard of the delivery workers: backlog, batches, ownership, requests, and what MySQL says."""

from typing import Final

from deploy.observability.panels import Board, lines, quantiles, rate

BOARD: Final = Board(
    uid="chat-workers",
    title="Chat: workers",
    description="Do the workers keep up, who owns what, and what does MySQL say?",
    panels=(
        lines(
            "Backlog", "Entries of each partition's stream.", "short", ("chat_worker_backlog_entries", "{{partition}}")
        ),
        lines(
            "Oldest entry",
            "Age of the oldest unsettled one, by partition.",
            "s",
            ("chat_worker_oldest_entry_age_seconds", "{{partition}}"),
        ),
        lines(
            "Partitions",
            "Owned by each worker; their sum is the system's number.",
            "short",
            ("chat_worker_partitions_owned", "{{instance}}"),
            ("max(chat_worker_partitions)", "of"),
        ),
        quantiles("chat_worker_batch_events", "Events of a batch", "Rises with the load.", "short"),
        quantiles("chat_worker_commit_seconds", "Commit", "Fence to answered COMMIT."),
        quantiles("chat_worker_publish_seconds", "Publish", "COMMIT to answered publication and settling."),
        lines(
            "Batches repeated", "By reason.", "ops", (rate("chat_worker_batch_repeats_total", "reason"), "{{reason}}")
        ),
        lines(
            "MySQL errors",
            "By number; no_answer: the connection failed or 5 s passed.",
            "ops",
            (rate("chat_worker_database_errors_total", "code"), "{{code}}"),
        ),
        lines(
            "Ownership",
            "Partitions taken over, and those found to be another's.",
            "ops",
            (rate("chat_worker_takeovers_total"), "takeovers"),
            (rate("chat_worker_fences_hit_total"), "fences hit"),
        ),
        lines("Requests", "Answered, by kind.", "ops", (rate("chat_worker_requests_total", "kind"), "{{kind}}")),
        quantiles("chat_worker_request_wait_seconds", "Wait for a session", "XADD of a request to a free session."),
        quantiles("chat_worker_request_seconds", "Answer", "Free session to the answer."),
        lines(
            "MySQL sessions in use",
            "Share of the time, by what they serve. At 100 % batches wait in the streams, requests for a session.",
            "percentunit",
            (
                rate("chat_worker_mysql_sessions_busy_seconds_total", "kind")
                + " / sum by (kind) (chat_worker_mysql_sessions)",
                "{{kind}}",
            ),
        ),
        lines(
            "Requests at fault",
            "A store failed; asked again since, and dropped.",
            "ops",
            (rate("chat_worker_requests_failed_total"), "failed"),
            (rate("chat_worker_requests_stale_total"), "stale"),
        ),
        lines(
            "Requests waiting",
            "Entries in the stream of requests.",
            "short",
            ("max(chat_worker_requests_backlog_entries)", "entries"),
        ),
        lines(
            "In memory",
            "Conversations remembered, entries read and not settled, recipients who owe an acknowledgement.",
            "short",
            ("sum(chat_worker_conversations_remembered)", "conversations"),
            ("sum(chat_worker_entries_pending)", "entries"),
            ("sum(chat_worker_undelivered_recipients)", "recipients"),
        ),
        lines(
            "Event loop lag, p99",
            "How late timers fire.",
            "s",
            (
                "histogram_quantile(0.99, "
                + rate("chat_event_loop_lag_seconds_bucket", "le, instance", where='{job="delivery-worker"}')
                + ")",
                "{{instance}}",
            ),
        ),
        quantiles("chat_gc_pause_seconds", "Garbage collection", "One pause, over all services."),
        lines(
            "Ready",
            "1 while nothing is missing to serve, over all services.",
            "short",
            ("chat_ready", "{{job}} {{instance}}"),
        ),
        lines(
            "Tasks", "Of the event loop, over all services.", "short", ("chat_asyncio_tasks", "{{job}} {{instance}}")
        ),
        lines(
            "Processes",
            "CPU of each worker, and its memory.",
            "short",
            (rate("process_cpu_seconds_total", "instance", where='{job="delivery-worker"}'), "cores {{instance}}"),
            ('process_resident_memory_bytes{job="delivery-worker"} / 2^30', "GiB {{instance}}"),
        ),
    ),
)
