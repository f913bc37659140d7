"""Owns how a service gets its tracer: none by default, and then nothing of OpenTelemetry is even imported.

A service that traces is composed of other parts than one that does not, so tracing costs nothing where it is off.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

from chatcore.errors import ConfigurationError
from chatcore.ids import ConversationId
from chatcore.settings import TraceSettings

END_S: Final = 2.0
"""Seconds of a shutdown for the last spans; what the collector did not take by then is lost."""

Value = str | int | float | bool
Attributes = Mapping[str, Value]


class SpanKind(Enum):
    """What part a span plays (OpenTelemetry, messaging conventions)."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    CLIENT = "client"


class Span(Protocol):
    """Something that takes time and has a name."""

    @property
    def traceparent(self) -> str:
        """What its children are told."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def end(self, *, failed: str | None = None) -> None:
        """End now, once. `failed` says why nothing came of it."""


class Tracer(Protocol):
    """The services' way to tell spans. It never waits and never raises: messages come first."""

    def follows(self, conversation: ConversationId) -> bool:
        """Tell whether a conversation is followed now."""

    def start(
        self,
        name: str,
        kind: SpanKind,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
        began_ns: int | None = None,
    ) -> Span:
        """Start a span: a root without a `parent`. `parent` and `links` are traceparents; `began_ns` is a wall time."""

    async def close(self) -> None:
        """Hand the last spans over, within `END_S`. Safe to repeat."""


def open_tracer(settings: TraceSettings, *, service: str, instance: str) -> Tracer | None:
    """Make the tracer that the settings ask for; None where tracing is off.

    Raises `ConfigurationError` where OpenTelemetry is not installed.
    """
    if not settings.trace_endpoint:
        return None
    try:
        from chatcore.otel import make_tracer  # only here: it imports OpenTelemetry
    except ImportError as error:
        raise ConfigurationError(
            f"CHAT_TRACE_ENDPOINT needs OpenTelemetry (pip install 'chatcore[tracing]'): {error}"
        ) from error
    return make_tracer(settings, service=service, instance=instance)
