"""Owns presence's metrics, declared once. Labels come from closed sets, never a user or a device."""

from typing import Final, get_args

from chatcore.instruments import Distribution, Tally
from chatcore.stream import PresenceEvent
from prometheus_client import CollectorRegistry, Counter, Gauge

EVENTS: Final = {kind: kind.__name__.lower() for kind in get_args(PresenceEvent)}
CAUSES: Final = ("connection", "subscription", "sweep")


class PresenceMetrics:
    """Every metric of presence."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._declare_events(registry)
        self._declare_users(registry)

    def _declare_events(self, registry: CollectorRegistry) -> None:
        self.events = Tally(
            "chat_presence_events",
            "Events of gateways read.",
            "kind",
            EVENTS.values(),
            registry=registry,
        )
        self.stale = Counter("chat_presence_events_stale", "Events too old to matter.", registry=registry)
        self.unreadable = Counter("chat_presence_entries_unreadable", "Entries that no codec read.", registry=registry)
        self.extended = Counter("chat_presence_heartbeats", "Heartbeats of devices taken.", registry=registry)
        self.batch_seconds = Distribution(
            "chat_presence_batch_seconds", "Handling of what one read gave.", registry=registry
        )
        self.lag = Gauge(
            "chat_presence_lag_seconds", "Age of the entry read last, by Redis's clock.", registry=registry
        )

    def _declare_users(self, registry: CollectorRegistry) -> None:
        self.online = Gauge(
            "chat_presence_online_users",
            "Users with a device whose time has not run out, over all replicas, as last looked at; one who has left "
            "counts until that time.",
            registry=registry,
        )
        self.transitions = Tally(
            "chat_presence_transitions",
            "Users found to have come or gone.",
            "to",
            ("online", "offline"),
            registry=registry,
        )
        self.looks = Tally("chat_presence_looks", "Looks at a user, by cause.", "cause", CAUSES, registry=registry)
        self.sweeping = Gauge(
            "chat_presence_sweeping",
            "1 while the expired are swept; 0 after a gap, until every gateway had the time to beat again.",
            registry=registry,
        )
        self.sweeps = Counter(
            "chat_presence_sweeps", "Sweeps that looked for users whose time has come.", registry=registry
        )
