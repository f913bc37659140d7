"""What the logs tell of a message: the right spans, as steps that a person reads."""

from typing import Any

import orjson
from chatcore.trace import COMMIT, PROCESS_GW, PROCESS_IN, SEND_GW, SEND_IN, SETTLE_IN
from chatctl.operations.spans import LoggedSpan, ack_steps, message_steps, of_message, spans_of

AB, OTHER = "ab" * 16, "cd" * 16
NAMES = {("g2", 9): "bob's pad"}


def line(name: str, *, trace: str, parent: str | None = "p", instance: str = "g1", **attributes: Any) -> str:
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    began = f"2026-01-01T00:00:0{len(given)}.5+00:00"
    record = {"event": "span", "span": name, "instance": instance, "trace_id": trace * 32, "parent_id": parent}
    return orjson.dumps(record | {"began": began, "took_ms": 2.5, "failed": None, "attributes": given}).decode()


def send(trace: str, conversation: str = AB, **more: Any) -> str:
    of = {"messaging__message__conversation_id": conversation, "messaging__destination__name": "chat:in:{1}"}
    return line(SEND_IN, trace=trace, parent=None, **of, chat__connection=4, **more)


def process(trace: str, seq: int, conversation: str = AB) -> str:
    return line(PROCESS_IN, trace=trace, messaging__message__conversation_id=conversation, chat__seq=seq, chat__epoch=7)


LOG = [
    "not JSON at all",
    '{"event": "listening"}',
    send("1"),
    f"[pod/gateway-1/gateway] {process('1', 3)}",
    line(COMMIT, trace="1"),
    line(SEND_GW, trace="1"),
    line(SETTLE_IN, trace="1"),
    line(PROCESS_GW, trace="1", instance="g2", chat__connection=9, chat__frame="message"),
    line(PROCESS_IN, trace="9", parent=None, messaging__batch__message_count=1),
    send("2"),
    process("2", 4),
    send("3", OTHER),
    process("3", 3, OTHER),
    line(COMMIT, trace="3"),
    send("4", chat__delivered=5, chat__read=2),
    send("1")[:-40],
]


def of(seq: int) -> list[LoggedSpan]:
    return of_message(spans_of(LOG, AB), seq)


def test_of_all_spans_those_of_the_message_are_told_whole() -> None:
    assert [span.name for span in of(3)] == [SEND_IN, PROCESS_IN, COMMIT, SEND_GW, SETTLE_IN, PROCESS_GW]
    assert [span.name for span in of(4)] == [SEND_IN, PROCESS_IN]
    assert of(5) == []


def test_a_message_without_a_number_is_found_by_its_trace() -> None:
    traces = ["2" * 32]
    found = of_message(spans_of([send("2")], AB, traces), None, traces)
    assert [span.name for span in found] == [SEND_IN]


def test_spans_become_steps_with_who_and_how_long() -> None:
    steps = {step.step: step for step in message_steps(of(3), NAMES)}
    assert steps.keys() == {"accepted", "handled", "committed", "published", "settled", "message written"}
    assert steps["accepted"].detail == "connection 4, into entry ? of chat:in:{1}, 2.5 ms"
    assert steps["handled"].detail.startswith("epoch 7")
    assert steps["message written"].detail == "connection 9 (bob's pad)"
    assert steps["committed"].at_ms == 1767225600502.5


def test_a_step_that_failed_says_why() -> None:
    [span] = spans_of([send("1").replace('"failed":null', '"failed":"unavailable"')], AB)
    [step] = message_steps([span], {})
    assert step.detail.startswith("FAILED (unavailable): ")


def test_of_each_connections_acknowledgements_the_first_that_covers_the_message_is_told() -> None:
    log = [
        send("4", chat__delivered=1, chat__read=0),
        send("5", chat__delivered=3, chat__read=0, more=1),
        send("6", chat__delivered=4, chat__read=0, more=1, still=1),
        send("7", chat__delivered=4, chat__read=3, more=1, still=1, and_more=1),
    ]
    steps = ack_steps(spans_of(log, AB), 3, {("g1", 4): "bob's phone"})
    assert [(step.step, step.detail) for step in steps] == [
        ("acknowledged", "connection 4 (bob's phone): up to 3"),
        ("read", "connection 4 (bob's phone): up to 3"),
    ]
