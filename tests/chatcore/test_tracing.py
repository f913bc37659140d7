"""The tracer: absent by default, and where it is there, it never stands in a message's way."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from aiohttp import web
from chatcore import otel
from chatcore.errors import ConfigurationError
from chatcore.ids import conversation_id
from chatcore.otel import OtelTracer, make_tracer
from chatcore.settings import TraceSettings, read_settings
from chatcore.trace import Context
from chatcore.tracing import SpanKind, Tracer, open_tracer
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from tests.harness.spans import Collector, memory_tracer
from tests.harness.system import free_port

CONVERSATION = conversation_id("alice", "bob")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def tracer_to(endpoint: str) -> Tracer:
    tracer = open_tracer(TraceSettings(trace_endpoint=endpoint, trace_ratio=1.0), service="gateway", instance="g.1")
    assert tracer is not None
    return tracer


def test_by_default_there_is_no_tracer() -> None:
    assert open_tracer(TraceSettings(), service="gateway", instance="g.1") is None


def test_a_service_that_does_not_trace_does_not_even_import_the_tracer() -> None:
    # redis-py imports a part of OpenTelemetry's metrics wherever that is installed.
    script = "import sys, gateway.app, delivery_worker.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"chatcore.otel", "opentelemetry.sdk.trace", "opentelemetry.exporter"} & set(done.stdout.split())


def test_tracing_without_opentelemetry_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chatcore.otel", None)
    with pytest.raises(ConfigurationError, match=r"chatcore\[tracing\]"):
        tracer_to("log")


@pytest.mark.parametrize("bad", ["collector:4318", "grpc://collector:4317", "http://", "logs"])
def test_an_endpoint_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("CHAT_TRACE_ENDPOINT", bad)
    with pytest.raises(ConfigurationError, match="CHAT_TRACE_ENDPOINT"):
        read_settings(TraceSettings)


def test_a_child_has_its_parents_trace_and_a_root_one_of_its_own() -> None:
    tracer, _ = memory_tracer()
    root = tracer.start("send", SpanKind.PRODUCER)
    child = tracer.start("process", SpanKind.CONSUMER, parent=root.traceparent)
    other = tracer.start("process", SpanKind.CONSUMER, links=[root.traceparent])
    of_root, of_child, of_other = (Context.decode(span.traceparent) for span in (root, child, other))
    assert of_root is not None
    assert of_child is not None
    assert of_other is not None
    assert of_root.trace == of_child.trace != of_other.trace
    assert of_root.span != of_child.span


def test_a_damaged_parent_or_link_makes_a_root_and_no_error() -> None:
    tracer, exporter = memory_tracer()
    tracer.start("process", SpanKind.CONSUMER, parent="nonsense", links=["nonsense", PARENT]).end(failed="store")
    [span] = exporter.get_finished_spans()
    assert span.parent is None
    assert len(span.links) == 1
    assert span.status.description == "store"


def test_the_ratio_says_what_is_followed() -> None:
    assert memory_tracer(ratio=1.0)[0].follows(CONVERSATION)
    assert not memory_tracer(ratio=0.0)[0].follows(CONVERSATION)


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
async def test_a_collector_gets_the_spans_under_the_standards_path(path: str) -> None:
    async with Collector() as collector:
        tracer = tracer_to(collector.url + path)
        span = tracer.start("send chat:in", SpanKind.PRODUCER, attributes={"chat.connection": 7})
        span.set({"messaging.message.id": "1-0"})
        span.end()
        await tracer.close()
        await tracer.close()
    [seen] = collector.named(
        "send chat:in", messaging__system="redis", messaging__message__id="1-0", chat__connection=7
    )
    assert (seen.service, seen.instance, seen.parent) == ("gateway", "g.1", "")
    assert f"00-{seen.trace}-{seen.span}-01" == span.traceparent


async def test_a_collector_that_is_away_disturbs_nobody() -> None:
    tracer = tracer_to(f"http://127.0.0.1:{free_port()}")
    for _ in range(100):
        tracer.start("send chat:in", SpanKind.PRODUCER).end()
    await tracer.close()


async def test_a_collector_that_never_answers_does_not_hold_up_a_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "END_S", 0.2)
    monkeypatch.setattr(otel, "EXPORT_S", 1.0)
    told: list[str] = []
    monkeypatch.setattr(otel.log, "warning", lambda event, **_: told.append(event), raising=False)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", hang)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        tracer = make_tracer(
            TraceSettings(trace_endpoint=f"http://127.0.0.1:{runner.addresses[0][1]}"),
            service="gateway",
            instance="g.1",
        )
        tracer.start("send chat:in", SpanKind.PRODUCER).end()
        await asyncio.wait_for(asked.wait(), 10)
        await tracer.close()
        assert told == ["spans_given_up"]
    finally:
        go_on.set()
        await runner.cleanup()


class Slow:
    """An exporter that is busy until it is let go."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.busy, self.go_on = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.busy.set()
        self.go_on.wait()
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is open."""


def test_of_more_spans_than_may_wait_the_oldest_are_dropped() -> None:
    slow: Any = Slow()
    processor = BatchSpanProcessor(slow, max_queue_size=4, max_export_batch_size=1)
    tracer = OtelTracer(processor, service="gateway", instance="g.1", ratio=1.0)
    tracer.start("first", SpanKind.CLIENT).end()
    slow.busy.wait()
    for number in range(10):
        tracer.start(str(number), SpanKind.CLIENT).end()
    slow.go_on.set()
    tracer.shut_down()
    assert slow.names == ["first", "6", "7", "8", "9"]


def test_in_the_log_a_span_is_a_line_with_its_times_and_attributes() -> None:
    script = """
import asyncio
from chatcore.logs import configure_logs
from chatcore.settings import ServiceSettings, TraceSettings
from chatcore.tracing import SpanKind, open_tracer
async def main():
    configure_logs(ServiceSettings(name="gw-1"), "gateway")
    tracer = open_tracer(TraceSettings(trace_endpoint="log"), service="gateway", instance="gw-1.abcd")
    root = tracer.start("send chat:in", SpanKind.PRODUCER)
    tracer.start("process chat:in", SpanKind.CONSUMER, parent=root.traceparent, attributes={"chat.seq": 3}).end()
    root.end(failed="unavailable")
    await tracer.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True)
    lines = [orjson.loads(line) for line in done.stderr.splitlines()]
    child, root = [line for line in lines if line["event"] == "span"]
    assert (root["span"], root["service"], root["name"], root["instance"]) == (
        "send chat:in",
        "gateway",
        "gw-1",
        "gw-1.abcd",
    )
    assert (root["parent_id"], root["failed"]) == (None, "unavailable")
    assert (child["trace_id"], child["parent_id"]) == (root["trace_id"], root["span_id"])
    assert child["attributes"]["chat.seq"] == 3
    assert child["took_ms"] >= 0
