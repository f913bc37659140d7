"""Owns the tracer on OpenTelemetry's SDK: what spans become, and how they leave. Imported only where tracing is on.

Spans leave by a thread of the SDK's. `QUEUED_SPANS` may wait for it; past them the oldest are dropped, and a warning
says so. A collector that is away costs spans, and no message waits for it.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Thread
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind as OtelKind

from chatcore.ids import ConversationId
from chatcore.logs import get_logger
from chatcore.settings import TraceSettings
from chatcore.trace import Context, follows
from chatcore.tracing import END_S, Attributes, Span, SpanKind

QUEUED_SPANS: Final = 8_192
"""About 2 KB each. Past it the oldest are dropped."""
EXPORTED_SPANS: Final = 512
"""Of one request to the collector."""
EXPORT_MS: Final = 1_000
"""How long a span waits for company."""
EXPORT_S: Final = 5.0
"""Seconds for one request to the collector, its tries included."""
TRACES_PATH: Final = "/v1/traces"
"""Of OTLP/HTTP, on the collector's base URL."""

_KINDS: Final = {
    SpanKind.PRODUCER: OtelKind.PRODUCER,
    SpanKind.CONSUMER: OtelKind.CONSUMER,
    SpanKind.CLIENT: OtelKind.CLIENT,
}

log = get_logger(__name__)


class OtelTracer:
    """`Tracer` on a provider of its own: nothing is global, so two services in one process do not meet."""

    def __init__(self, processor: SpanProcessor, *, service: str, instance: str, ratio: float) -> None:
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        # The SDK's own exit handler would wait for half a minute.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("chatcore")
        self._ratio = ratio
        self._closed = False

    def follows(self, conversation: ConversationId) -> bool:
        """Tell whether a conversation is followed now."""
        return follows(conversation, time(), self._ratio)

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
        """Start a span."""
        remote = _context(parent) if parent else None
        return OtelSpanOf(
            self._tracer.start_span(
                name,
                context=set_span_in_context(NonRecordingSpan(remote)) if remote is not None else None,
                kind=_KINDS[kind],
                attributes={"messaging.system": "redis", **(attributes or {})},
                links=[Link(context) for link in links if (context := _context(link)) is not None],
                start_time=began_ns,
            )
        )

    def shut_down(self) -> None:
        """Hand the last spans over, and take no more. It may block for half a minute."""
        self._provider.shutdown()

    async def close(self) -> None:
        """Let the SDK's thread hand over what there is; give it up after `END_S`."""
        if self._closed:
            return
        self._closed = True
        # A thread that dies with the process: the SDK would wait for a collector far longer than a shutdown may.
        ending = Thread(target=self.shut_down, name="end-tracing", daemon=True)
        ending.start()
        until = asyncio.get_running_loop().time() + END_S
        while ending.is_alive():
            if asyncio.get_running_loop().time() >= until:
                log.warning("spans_given_up", within_s=END_S)
                return
            await asyncio.sleep(0.02)


class OtelSpanOf:
    """`Span` on one of OpenTelemetry's."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        self.traceparent = _traceparent(span.get_span_context())

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(dict(attributes))

    def end(self, *, failed: str | None = None) -> None:
        """End now."""
        if failed is not None:
            self._span.set_status(Status(StatusCode.ERROR, failed))
        self._span.end()


class LogExporter(SpanExporter):
    """Writes each span as a line of the service's log: `chatctl explain` reads them, and no collector is needed."""

    def __init__(self, *, name: str) -> None:
        self._name = name

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write them."""
        for span in spans:
            log.info("span", **_fields(span), name=self._name)
        return SpanExportResult.SUCCESS


def make_tracer(settings: TraceSettings, *, service: str, instance: str) -> OtelTracer:
    """Make the tracer of the settings, which name an endpoint."""
    endpoint = settings.trace_endpoint
    exporter: SpanExporter
    if endpoint == "log":
        exporter = LogExporter(name=instance.rpartition(".")[0])
    else:
        base = endpoint.rstrip("/")
        url = base if base.endswith(TRACES_PATH) else base + TRACES_PATH
        exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_S)
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=QUEUED_SPANS,
        max_export_batch_size=EXPORTED_SPANS,
        schedule_delay_millis=EXPORT_MS,
    )
    log.info("tracing", to=urlsplit(endpoint).hostname or endpoint, ratio=settings.trace_ratio)
    return OtelTracer(processor, service=service, instance=instance, ratio=settings.trace_ratio)


def _context(traceparent: str) -> SpanContext | None:
    found = Context.decode(traceparent)
    if found is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(found.trace, 16), int(found.span, 16), is_remote=True, trace_flags=flags)


def _traceparent(context: SpanContext) -> str:
    return Context(format_trace_id(context.trace_id), format_span_id(context.span_id)).encode()


def _fields(span: ReadableSpan) -> dict[str, Any]:
    context, parent = span.get_span_context(), span.parent
    began_ns, ended_ns = span.start_time or 0, span.end_time or 0
    return {
        "service": span.resource.attributes["service.name"],
        "instance": span.resource.attributes["service.instance.id"],
        "span": span.name,
        "trace_id": format_trace_id(context.trace_id) if context else "",
        "span_id": format_span_id(context.span_id) if context else "",
        "parent_id": format_span_id(parent.span_id) if parent else None,
        "began": datetime.fromtimestamp(began_ns / 1e9, UTC).isoformat(timespec="microseconds"),
        "took_ms": round((ended_ns - began_ns) / 1e6, 3),
        "failed": span.status.description if span.status.status_code is StatusCode.ERROR else None,
        "attributes": dict(span.attributes or {}),
        "links": [_traceparent(link.context) for link in span.links],
    }
