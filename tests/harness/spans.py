"""Owns where tests take spans: in memory, or as a collector that receives OTLP over HTTP, as a real one does."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from chatcore.otel import OtelTracer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as a collector sees it."""

    service: str
    instance: str
    name: str
    trace: str
    span: str
    parent: str
    """Empty: it is a root."""
    attributes: dict[str, Any]
    linked: frozenset[str]
    """The traces that it links to."""
    began_ns: int
    ended_ns: int
    failed: str


class Collector:
    """An OTLP receiver on loopback."""

    def __init__(self) -> None:
        self.spans: list[SeenSpan] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def named(self, name: str, **attributes: Any) -> list[SeenSpan]:
        """Give the spans of a name that have these attributes; dots are written as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [one for one in self.spans if one.name == name and wanted.items() <= one.attributes.items()]

    async def _take(self, request: web.Request) -> web.Response:
        self.spans += _seen(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(content_type="application/x-protobuf")


def _seen(request: Any) -> Iterator[SeenSpan]:
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for span in (span for scope in of_resource.scope_spans for span in scope.spans):
            yield SeenSpan(
                resource["service.name"],
                resource["service.instance.id"],
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                _attributes(span.attributes),
                frozenset(link.trace_id.hex() for link in span.links),
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                span.status.message,
            )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def memory_tracer(service: str = "test", ratio: float = 1.0) -> tuple[OtelTracer, InMemorySpanExporter]:
    """Make a tracer whose spans stay in memory."""
    exporter = InMemorySpanExporter()
    return OtelTracer(SimpleSpanProcessor(exporter), service=service, instance="i", ratio=ratio), exporter
