"""Owns the dashboard of Redis and MySQL, by the metrics of `redis_exporter` and `mysqld_exporter`."""

from typing import Final

from deploy.observability.panels import Board, figure, lines, rate

BOARD: Final = Board(
    uid="chat-stores",
    title="Chat: Redis and MySQL",
    description="Are both stores well, and how far are they from their limits?",
    panels=(
        figure("Redis", "1 while it answers its exporter.", "short", "min(redis_up)"),
        lines(
            "Redis memory",
            "Used, and the limit past which it takes no sends (0: none).",
            "bytes",
            ("redis_memory_used_bytes", "used {{instance}}"),
            ("redis_memory_max_bytes", "limit {{instance}}"),
        ),
        lines(
            "Redis commands", "Processed.", "ops", (rate("redis_commands_processed_total", "instance"), "{{instance}}")
        ),
        lines(
            "Redis commands, time",
            "Seconds spent a second, by command: 1 is a whole core, and all that Redis has.",
            "percentunit",
            ("topk(8, " + rate("redis_commands_duration_seconds_total", "cmd") + ")", "{{cmd}}"),
        ),
        lines("Redis clients", "Connected.", "short", ("redis_connected_clients", "{{instance}}")),
        lines(
            "Redis network",
            "In and out.",
            "Bps",
            (rate("redis_net_input_bytes_total"), "in"),
            (rate("redis_net_output_bytes_total"), "out"),
        ),
        lines(
            "Redis drops",
            "Keys evicted: must be none. Keys that expired.",
            "ops",
            (rate("redis_evicted_keys_total"), "evicted"),
            (rate("redis_expired_keys_total"), "expired"),
        ),
        figure("MySQL", "1 while it answers its exporter.", "short", "min(mysql_up)"),
        lines(
            "MySQL commands",
            "Commits, rollbacks, inserts.",
            "ops",
            (
                rate(
                    "mysql_global_status_commands_total", "command", where='{command=~"commit|rollback|insert|select"}'
                ),
                "{{command}}",
            ),
        ),
        lines(
            "MySQL connections",
            "Open, and the limit.",
            "short",
            ("mysql_global_status_threads_connected", "open {{instance}}"),
            ("mysql_global_variables_max_connections", "limit {{instance}}"),
        ),
        lines(
            "MySQL running",
            "Statements that run at once: many mean that they wait for something.",
            "short",
            ("mysql_global_status_threads_running", "{{instance}}"),
        ),
        lines(
            "MySQL row locks",
            "Waits for one.",
            "ops",
            (rate("mysql_global_status_innodb_row_lock_waits", "instance"), "{{instance}}"),
        ),
        lines(
            "MySQL redo log",
            "Bytes written: each commit waits for it.",
            "Bps",
            (rate("mysql_global_status_innodb_os_log_written", "instance"), "{{instance}}"),
        ),
        lines(
            "MySQL disk",
            "Synchronous writes of data.",
            "ops",
            (rate("mysql_global_status_innodb_data_fsyncs", "instance"), "{{instance}}"),
        ),
        lines(
            "MySQL buffer pool",
            "Share of reads that needed the disk.",
            "percentunit",
            (
                rate("mysql_global_status_innodb_buffer_pool_reads")
                + " / "
                + rate("mysql_global_status_innodb_buffer_pool_read_requests"),
                "misses",
            ),
        ),
    ),
)
