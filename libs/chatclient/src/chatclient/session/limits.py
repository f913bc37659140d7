"""The numbers a session lives by: times of PROTOCOL section 6, and bounds of its own memory."""

from dataclasses import dataclass, fields
from typing import Any

ACK_PAUSE_S = 0.05
"""Seconds between two acknowledgements of incoming messages; rule 2. Shorter costs frames."""
OWN_ACK_S = 1.0
"""Seconds within which one's own messages are acknowledged; rule 2. Longer delays SENT."""
HOLE_S = 2.0
"""Seconds a hole may stay before history is asked; rule 1. Shorter asks for what is on its way."""
ANSWER_S = 10.0
"""Seconds without an answer before a send or a request is repeated; rule 3."""
SILENCE_S = 60.0
"""Seconds without any frame or ping before the connection is given up; section 3."""
WELCOME_S = 15.0
"""Seconds a dial may take up to `welcome`; own choice, a hung gateway costs one backoff."""
BACKOFF_FIRST_S = 0.5
"""Seconds: the ceiling of the first full-jitter delay; rule 4."""
BACKOFF_LAST_S = 30.0
"""Seconds: the ceiling that the delays grow to; rule 4."""
GOAWAY_MAX_S = 300.0
"""Seconds: the longest `reconnect_after_ms` that is honoured; own choice against a mad number."""
HOLE_PAGE = 200
"""Messages asked for at once to close a hole: the protocol's largest page."""
HELD_MAX = 1_000
"""Messages held back ahead of a hole, per peer. When full the highest goes: history has it."""
UNTAKEN_MAX = 20_000
"""Messages told to the application and not yet taken: above the shell's own bound, which stops the reading.
When full the next ones are left to history, unacknowledged, and asked for as the application takes."""
OUTBOX_MAX = 10_000
"""Messages without an answer. When full a send raises `OutboxFull`."""
REQUESTS_MAX = 1_000
"""Requests without an answer. When full a request raises `Refused`."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits that `welcome` names; the defaults are those of the protocol."""

    sends_per_s: float = 100.0
    sends_burst: float = 1_000.0
    max_in_flight: int = 1_000
    max_subscriptions: int = 200
    max_frame_bytes: int = 65_536
    max_body_bytes: int = 16_384


def read_limits(frame: dict[str, Any]) -> ServerLimits:
    """Read the `limits` of `welcome`; one that is missing keeps its default."""
    named = frame.get("limits") or {}
    return ServerLimits(**{f.name: named[f.name] for f in fields(ServerLimits) if f.name in named})
