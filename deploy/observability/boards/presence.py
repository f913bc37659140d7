"""Owns the dashboard of presence: who is online, who came and went, and whether it keeps up."""

from typing import Final

from deploy.observability.panels import Board, figure, lines, quantiles, rate

BOARD: Final = Board(
    uid="chat-presence",
    title="Chat: presence",
    description="Who is online, and does presence keep up with the heartbeats?",
    panels=(
        figure("Online", "Users with a device whose time has not run out.", "short", "max(chat_presence_online_users)"),
        figure("Sweeping", "1 while those who vanished are taken for gone.", "short", "max(chat_presence_sweeping)"),
        figure("Lag", "Age of the entry read last.", "s", "max(chat_presence_lag_seconds)"),
        lines(
            "Transitions", "Users who came and went.", "ops", (rate("chat_presence_transitions_total", "to"), "{{to}}")
        ),
        lines("Events", "By kind.", "ops", (rate("chat_presence_events_total", "kind"), "{{kind}}")),
        lines("Heartbeats", "Devices extended.", "ops", (rate("chat_presence_heartbeats_total"), "heartbeats")),
        lines("Looks", "At a user, by cause.", "ops", (rate("chat_presence_looks_total", "cause"), "{{cause}}")),
        lines("Sweeps", "Of all replicas.", "ops", (rate("chat_presence_sweeps_total"), "sweeps")),
        lines(
            "Left out",
            "Events too old to matter, and entries that no codec reads.",
            "ops",
            (rate("chat_presence_events_stale_total"), "stale"),
            (rate("chat_presence_entries_unreadable_total"), "unreadable"),
        ),
        quantiles("chat_presence_batch_seconds", "Batch", "Handling of what one read gave."),
        lines(
            "Event loop lag, p99",
            "How late timers fire.",
            "s",
            (
                "histogram_quantile(0.99, "
                + rate("chat_event_loop_lag_seconds_bucket", "le, instance", where='{job="presence"}')
                + ")",
                "{{instance}}",
            ),
        ),
        lines(
            "Processes",
            "CPU of each replica, and its memory.",
            "short",
            (rate("process_cpu_seconds_total", "instance", where='{job="presence"}'), "cores {{instance}}"),
            ('process_resident_memory_bytes{job="presence"} / 2^30', "GiB {{instance}}"),
        ),
    ),
)
