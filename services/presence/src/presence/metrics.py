"""Owns presence's metrics. How many users are online no replica knows by itself; what it did, it does."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class PresenceMetrics:
    """Every metric of presence, declared once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("chat_presence_events", "Events handled", ["kind"], registry=registry)
        self.stale = Counter("chat_presence_events_stale", "Events too old to matter", registry=registry)
        self.unreadable = Counter("chat_presence_entries_unreadable", "Entries that no codec read", registry=registry)
        self.extended = Counter("chat_presence_heartbeats", "Deadlines extended", registry=registry)
        self.transitions = Counter("chat_presence_transitions", "Users told to come or go", ["to"], registry=registry)
        self.looks = Counter("chat_presence_looks", "Looks at a user", ["cause"], registry=registry)
        self.batch_seconds = Histogram(
            "chat_presence_batch_seconds", "Handling of what one read gave", buckets=SECONDS, registry=registry
        )
        self.lag = Gauge("chat_presence_lag_seconds", "Age of the entry read last", registry=registry)
        self.sweeping = Gauge("chat_presence_sweeping", "1 while the expired are swept", registry=registry)
        self.deadlines = Gauge(
            "chat_presence_users_watched", "Users with a deadline, over all replicas", registry=registry
        )
