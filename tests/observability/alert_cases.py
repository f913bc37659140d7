"""Owns what makes each alert fire and what does not: series as promtool takes them, one value a minute."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One alert's series."""

    fires: Series
    quiet: Series
    at: str = "20m"
    interval: str = "1m"
    fires_when_absent: bool = field(default=False)


GATEWAY: Final = 'job="gateway",instance="g1"'
SENDS: Final = 'chat_gateway_frames_in_total{type="send"}'
FAILED: Final = 'chat_gateway_errors_total{code="unavailable"}'
LIMITED: Final = 'chat_gateway_errors_total{code="rate_limited"}'


def gauge(series: str, bad: float, good: float, **options: str) -> Case:
    """A gauge that stands at a bad value, and at a good one."""
    return Case({series: f"{bad}x60"}, {series: f"{good}x60"}, **options)


def counter(series: str, bad: float, good: float = 0, **options: str) -> Case:
    """A counter that rises by so much a minute."""
    return Case({series: f"0+{bad}x60"}, {series: f"0+{good}x60"}, **options)


def quantile(name: str, slow: str, labels: str = "") -> Case:
    """A histogram all of whose observations are above the bound `slow`, or below it."""

    def series(below: str) -> Series:
        return {
            f'{name}_bucket{{{labels}le="0.05"}}': below,
            f'{name}_bucket{{{labels}le="{slow}"}}': below,
            f'{name}_bucket{{{labels}le="30.0"}}': "0+60x60",
            f'{name}_bucket{{{labels}le="+Inf"}}': "0+60x60",
        }

    return Case(series("0x60"), series("0+60x60"), at="40m")


def share(total: str, good: str, *, days: bool) -> Case:
    """An objective: a tenth of what is counted misses it, or nothing does."""
    length, options = (330, {"at": "26h", "interval": "5m"}) if days else (120, {"at": "110m", "interval": "1m"})
    return Case(
        {total: f"0+100x{length}", good: f"0+80x{length}"},
        {total: f"0+100x{length}", good: f"0+100x{length}"},
        **options,
    )


def failures(*, days: bool) -> Case:
    """Requests of which a tenth fails, or only by their clients' rate."""
    length, options = (330, {"at": "26h", "interval": "5m"}) if days else (120, {"at": "110m", "interval": "1m"})
    return Case(
        {SENDS: f"0+100x{length}", FAILED: f"0+10x{length}"},
        {SENDS: f"0+100x{length}", FAILED: f"0x{length}", LIMITED: f"0+50x{length}"},
        **options,
    )


def latency(*, days: bool) -> Case:
    """Sends of which a fifth takes too long."""
    return share("chat_gateway_sent_seconds_count", 'chat_gateway_sent_seconds_bucket{le="0.5"}', days=days)


def delivery(*, days: bool) -> Case:
    """Messages of which a fifth arrives too late."""
    made = share("chat_worker_delivery_seconds_count", 'chat_worker_delivery_seconds_bucket{le="5.0"}', days=days)
    silent = {'chat_worker_undelivered_forgotten_total{reason="silent"}': "0x330"}
    return Case({**made.fires, **silent}, {**made.quiet, **silent}, at=made.at, interval=made.interval)


def absent(job: str) -> Case:
    """The last process of a service went away."""
    series = f'up{{job="{job}",instance="one"}}'
    return Case({series: "0x60"}, {series: "1x60"}, fires_when_absent=True)


def store(series: str) -> Case:
    """A store that does not answer its exporter. Where that one is gone, nobody knows."""
    return Case({series: "0x60"}, {series: "1x60"}, fires_when_absent=True)


def partitions(owned: int) -> Series:
    """Two workers of a system with 32 partitions."""
    return {
        'chat_worker_partitions{instance="w1"}': "32x60",
        'chat_worker_partitions{instance="w2"}': "32x60",
        'chat_worker_partitions_owned{instance="w1"}': "16x60",
        'chat_worker_partitions_owned{instance="w2"}': f"{owned}x60",
    }


CASES: Final[Mapping[str, Case]] = {
    "ChatSendsFail": failures(days=False),
    "ChatSendsFailTicket": failures(days=True),
    "ChatSendsSlow": latency(days=False),
    "ChatSendsSlowTicket": latency(days=True),
    "ChatDeliveriesLate": delivery(days=False),
    "ChatDeliveriesLateTicket": delivery(days=True),
    "ChatRecipientsWait": gauge('chat_worker_undelivered_late_recipients{instance="w1"}', 12, 3),
    "ChatMessageUndelivered": gauge('chat_worker_undelivered_age_seconds{instance="w1"}', 400, 20),
    "ChatUndeliveredUnwatched": Case(
        {'chat_worker_undelivered_forgotten_total{reason="full"}': "0+1x60"},
        {'chat_worker_undelivered_forgotten_total{reason="offline"}': "0+60x60"},
    ),
    "ChatDeadLetters": counter("chat_worker_dead_letters_total", 1),
    "ChatAcksDropped": counter("chat_gateway_acks_dropped_total", 1),
    "ChatWorkersAbsent": absent("delivery-worker"),
    "ChatPartitionsUnowned": Case(partitions(12), partitions(16)),
    "ChatPartitionsOwnedTwice": Case(partitions(17), partitions(16)),
    "ChatEntriesWait": gauge('chat_worker_oldest_entry_age_seconds{partition="3"}', 9, 0.1),
    "ChatBacklogGrows": gauge('chat_worker_backlog_entries{partition="3"}', 9_000, 40),
    "ChatBatchesRepeat": Case(
        {'chat_worker_batch_repeats_total{reason="store"}': "0+60x60"},
        {'chat_worker_batch_repeats_total{reason="poison"}': "0+60x60"},
    ),
    "ChatFencesHit": counter("chat_worker_fences_hit_total", 1),
    "ChatTakeoversFrequent": Case(
        {"chat_worker_takeovers_total": "0+16x60", "chat_worker_partitions": "32x60"},
        {"chat_worker_takeovers_total": "0+1x60", "chat_worker_partitions": "32x60"},
        at="45m",
    ),
    "ChatRequestsWait": quantile("chat_worker_request_wait_seconds", "5.0"),
    "ChatRequestsFail": counter("chat_worker_requests_failed_total", 30, 1),
    "ChatGatewaysAbsent": absent("gateway"),
    "ChatStreamsOverfull": gauge("chat_gateway_partitions_overfull", 1, 0),
    "ChatConnectionsLost": Case(
        {"chat_gateway_connections": "1000x14 100x20"},
        {"chat_gateway_connections": "1000x14 800x20"},
    ),
    "ChatConnectionsNearLimit": Case(
        {
            f"chat_gateway_connections{{{GATEWAY}}}": "19000x60",
            f"chat_gateway_connections_max{{{GATEWAY}}}": "20000x60",
        },
        {f"chat_gateway_connections{{{GATEWAY}}}": "19000x60", f"chat_gateway_connections_max{{{GATEWAY}}}": "0x60"},
    ),
    "ChatHandshakesRefused": Case(
        {
            'chat_gateway_handshakes_total{result="not_ready"}': "0+60x60",
            'chat_gateway_handshakes_total{result="accepted"}': "0+60x60",
        },
        {
            'chat_gateway_handshakes_total{result="bad_token"}': "0+60x60",
            'chat_gateway_handshakes_total{result="accepted"}': "0+60x60",
        },
    ),
    "ChatProbesMissed": counter(f"chat_gateway_probe_misses_total{{{GATEWAY}}}", 10),
    "ChatPublicationsLost": Case(
        {'chat_gateway_syncs_total{cause="wipe"}': "0+10x60"},
        {'chat_gateway_syncs_total{cause="periodic"}': "0+10x60", 'chat_gateway_syncs_total{cause="gap"}': "0x60"},
    ),
    "ChatPublicationsDamaged": counter(f"chat_gateway_publications_damaged_total{{{GATEWAY}}}", 1),
    "ChatClientsSentAway": Case(
        {f'chat_gateway_sent_away_total{{{GATEWAY},reason="unreachable"}}': "0+10x60"},
        {f'chat_gateway_sent_away_total{{{GATEWAY},reason="draining"}}': "0+10x60"},
    ),
    "ChatPipelinesFail": counter(f"chat_gateway_pipelines_failed_total{{{GATEWAY}}}", 60),
    "ChatSlowReaders": counter("chat_gateway_slow_readers_total", 120, 1, at="40m"),
    "ChatOutboundQueued": gauge(f"chat_gateway_queued_bytes{{{GATEWAY}}}", 3e8, 1e6),
    "ChatPresenceAbsent": absent("presence"),
    "ChatPresenceBehind": gauge("chat_presence_lag_seconds", 9, 0),
    "ChatPresenceNotSweeping": gauge("chat_presence_sweeping", 0, 1),
    "ChatPresenceUnreadable": counter("chat_presence_entries_unreadable_total", 1),
    "ChatProcessDown": gauge(f"up{{{GATEWAY}}}", 0, 1),
    "ChatNotReady": gauge(f"chat_ready{{{GATEWAY}}}", 0, 1),
    "ChatEventLoopLate": quantile("chat_event_loop_lag_seconds", "0.5", f"{GATEWAY},"),
    "ChatGarbagePauses": quantile("chat_gc_pause_seconds", "1.0", f"{GATEWAY},"),
    "ChatDescriptorsShort": Case(
        {f"process_open_fds{{{GATEWAY}}}": "900x60", f"process_max_fds{{{GATEWAY}}}": "1000x60"},
        {f"process_open_fds{{{GATEWAY}}}": "100x60", f"process_max_fds{{{GATEWAY}}}": "1000x60"},
    ),
    "ChatRedisDown": store("redis_up"),
    "ChatRedisMemory": Case(
        {"redis_memory_used_bytes": "9e8x60", "redis_memory_max_bytes": "1e9x60"},
        {"redis_memory_used_bytes": "9e8x60", "redis_memory_max_bytes": "0x60"},
    ),
    "ChatRedisEvicts": counter("redis_evicted_keys_total", 5),
    "ChatMySQLDown": store("mysql_up"),
    "ChatMySQLUnanswered": counter('chat_worker_database_errors_total{code="no_answer"}', 30),
    "ChatMySQLRetries": Case(
        {'chat_worker_database_errors_total{code="1213"}': "0+60x60"},
        {'chat_worker_database_errors_total{code="1062"}': "0+60x60"},
        at="45m",
    ),
    "ChatMySQLSlow": quantile("chat_worker_commit_seconds", "2.5"),
}
