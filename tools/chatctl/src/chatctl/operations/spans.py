"""Owns what the services' logs tell of one message: its spans, where it was traced, as steps of a time line. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from chatcore.trace import COMMIT, PROCESS_GW, PROCESS_IN, SEND_GW, SEND_IN, SETTLE_IN

_TRACE_ID: Final = re.compile(r'"trace_id": ?"([0-9a-f]{32})"').search
_CONVERSATION: Final = "messaging.message.conversation_id"
Names = Mapping[tuple[str, int], str]
"""By gateway and connection, whose device it is, as far as it is still connected."""


@dataclass(frozen=True, slots=True)
class LoggedSpan:
    """A span as a service logged it (`chatcore.otel.LogExporter`)."""

    name: str
    instance: str
    trace: str
    parent: str | None
    began_ms: float
    took_ms: float
    failed: str | None
    attributes: Mapping[str, Any]

    @property
    def ended_ms(self) -> float:
        """When it ended."""
        return self.began_ms + self.took_ms


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the message."""

    at_ms: float
    """By the clock of whoever saw it."""
    step: str
    where: str
    detail: str
    known_from: str
    """`mysql`, `redis` or `trace`."""


def spans_of(lines: Iterable[str], conversation: str, traces: Collection[str] = ()) -> list[LoggedSpan]:
    """Pick from log lines the spans of a conversation, and of `traces`, whole. A line may have a prefix."""
    logged = [(found.group(1), line) for line in lines if (found := _TRACE_ID(line)) is not None]
    wanted = {trace for trace, line in logged if conversation in line} | set(traces)
    return [span for trace, line in logged if trace in wanted and (span := _read(line)) is not None]


def of_message(spans: Sequence[LoggedSpan], seq: int | None, traces: Collection[str] = ()) -> list[LoggedSpan]:
    """Give the spans of the traces that are of message `seq`, or that are named."""
    mine = {span.trace for span in spans if span.name == PROCESS_IN and span.attributes.get("chat.seq") == seq}
    if seq is None:
        mine = set()
    return [span for span in spans if span.trace in mine | set(traces) and (span.parent or span.name == SEND_IN)]


def message_steps(spans: Iterable[LoggedSpan], names: Names) -> list[Step]:
    """Tell a message's spans as steps."""
    return [step for span in spans if (step := _message_step(span, names)) is not None]


def ack_steps(spans: Iterable[LoggedSpan], seq: int, names: Names) -> list[Step]:
    """Tell, for each connection, the first acknowledgement of a message, and the first that says that it was read."""
    steps: list[Step] = []
    seen: set[tuple[str, str, int]] = set()
    for span in sorted(spans, key=lambda span: span.began_ms):
        if span.name != SEND_IN or "chat.delivered" not in span.attributes:
            continue
        for what, mark in (("acknowledged", "chat.delivered"), ("read", "chat.read")):
            upto, number = span.attributes[mark], span.attributes["chat.connection"]
            if upto >= seq and (what, span.instance, number) not in seen:
                seen.add((what, span.instance, number))
                detail = f"{_whose(span, names)}: up to {upto}"
                steps.append(Step(span.began_ms, what, span.instance, detail, "trace"))
    return steps


def _read(line: str) -> LoggedSpan | None:
    try:
        record = orjson.loads(line[line.index("{") :])
        return LoggedSpan(
            name=record["span"],
            instance=record["instance"],
            trace=record["trace_id"],
            parent=record["parent_id"],
            began_ms=datetime.fromisoformat(record["began"]).timestamp() * 1000,
            took_ms=record["took_ms"],
            failed=record["failed"],
            attributes=record["attributes"],
        )
    except (ValueError, KeyError, TypeError):
        return None  # a line that was cut off where its log was bounded


def _message_step(span: LoggedSpan, names: Names) -> Step | None:
    given = span.attributes
    if span.name == SEND_IN:
        into = f"into entry {given.get('messaging.message.id', '?')} of {given['messaging.destination.name']}"
        return _step(span, span.began_ms, "accepted", f"{_whose(span, names)}, {into}, {_took(span)}")
    if span.name == PROCESS_IN:
        batch = f"epoch {given.get('chat.epoch', '?')}, {given.get('messaging.batch.message_count', '?')} events"
        refused = f", refused: {given['chat.refused']}" if "chat.refused" in given else ""
        return _step(span, span.began_ms, "handled", f"{batch}{refused}, {_took(span)}")
    if span.name == COMMIT:
        return _step(span, span.ended_ms, "committed", _took(span))
    if span.name == SEND_GW:
        return _step(span, span.ended_ms, "published", _took(span))
    if span.name == SETTLE_IN:
        return _step(span, span.ended_ms, "settled", "with the publications")
    if span.name == PROCESS_GW:
        return _step(span, span.ended_ms, f"{given.get('chat.frame', 'frame')} written", _whose(span, names))
    return None


def _step(span: LoggedSpan, at_ms: float, what: str, detail: str) -> Step:
    failed = f"FAILED ({span.failed}): " if span.failed else ""
    return Step(at_ms, what, span.instance, failed + detail, "trace")


def _whose(span: LoggedSpan, names: Names) -> str:
    number = span.attributes.get("chat.connection", 0)
    name = names.get((span.instance, number))
    return f"connection {number} ({name})" if name else f"connection {number}"


def _took(span: LoggedSpan) -> str:
    return f"{span.took_ms:.1f} ms"
