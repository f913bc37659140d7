"""Owns a gateway's spans: from a frame to its stream, and from a publication to the socket. Only where tracing is on.

These are the parts of a gateway of which a plain one has others: what is not traced passes them untouched, and they
keep nothing about a message once it is in its stream.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from chatcore.errors import CodecError
from chatcore.ids import ConversationId, conversation_id
from chatcore.keys import Keys
from chatcore.logs import get_logger
from chatcore.push import Kind, Trace
from chatcore.trace import PROCESS_GW, SEND_IN, traced_item
from chatcore.tracing import Attributes, Span, SpanKind, Tracer

from gateway.outbox import Outbox
from gateway.subscriber import Dispatcher
from gateway.turn import Entry, place

TRACE: Final = 8
"""Where an item that is traced has its `traceparent`."""

log = get_logger(__name__)


class TracedOutbox(Outbox):
    """An outbox that follows some conversations' frames until Redis took them."""

    def __init__(self, *given: Any, tracer: Tracer, keys: Keys, **named: Any) -> None:
        super().__init__(*given, keys=keys, **named)
        self._tracer, self._names = tracer, keys
        self._open: dict[str, Span] = {}
        """Spans of sends that wait for the pipeline's answer, by traceparent: no more than sends may wait."""

    def send(self, user: str, peer: str, item: Any, size_bytes: int) -> bool:
        """Take a send, and a span of it if its conversation is followed."""
        conversation = conversation_id(user, peer)
        if not self._tracer.follows(conversation):
            return super().send(user, peer, item, size_bytes)
        span = self._start(conversation, user, peer, {"chat.connection": item[1]})
        taken = super().send(user, peer, traced_item(item, span.traceparent), size_bytes)
        if taken:
            self._open[span.traceparent] = span
        else:
            span.end(failed="overloaded")
        return taken

    def _keep(self, item: Any, *, late: bool = False) -> None:
        """Keep an acknowledgement. Its span is of this moment: of many, only the newest goes on."""
        user, peer = item[2], item[4]
        conversation = conversation_id(user, peer)
        if not late and len(item) <= TRACE and self._tracer.follows(conversation):
            marks = {"chat.connection": item[1], "chat.delivered": item[5], "chat.read": item[6]}
            span = self._start(conversation, user, peer, marks)
            item = traced_item(item, span.traceparent)
            span.end()
        super()._keep(item, late=late)

    def _settle_entries(self, entries: list[Entry], answers: list[Any]) -> None:
        super()._settle_entries(entries, answers)
        for (_, items), answer in zip(entries, answers, strict=False):
            for item in items:
                if len(item) > TRACE and (span := self._open.pop(item[TRACE], None)) is not None:
                    span.set({"messaging.message.id": answer.decode()})
                    span.end()

    def _refuse(self, items: list[Any]) -> None:
        for item in items:
            if len(item) > TRACE and (span := self._open.pop(item[TRACE], None)) is not None:
                span.end(failed="unavailable")
        super()._refuse(items)

    def _start(self, conversation: ConversationId, user: str, peer: str, more: Attributes) -> Span:
        partition = place(user, peer, self.partitions)
        return self._tracer.start(
            SEND_IN,
            SpanKind.PRODUCER,
            attributes={
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": self._names.inbox(partition),
                "messaging.destination.partition.id": str(partition),
                "messaging.message.conversation_id": conversation.hex(),
                **more,
            },
        )


class TracedDispatcher(Dispatcher):
    """A dispatcher that follows the frames of which a publication says that they are traced."""

    def __init__(self, *, tracer: Tracer, channel: str, **named: Any) -> None:
        super().__init__(**named)
        self._tracer, self._channel = tracer, channel

    def _rarer(self, kind: int, number: int, payload: bytes) -> None:
        if kind != Kind.TRACE:
            super()._rarer(kind, number, payload)
            return
        try:
            trace = Trace.decode(payload)
        except CodecError:
            log.warning("trace_unreadable")  # a frame must not suffer from its trace
            return
        self._follow(number, trace)

    def _follow(self, number: int, trace: Trace) -> None:
        """Follow the frame that was queued just now until it is written; a connection that closes first ends nothing.

        Then there is no span: what is not told was not seen.
        """
        span = self._tracer.start(
            PROCESS_GW,
            SpanKind.CONSUMER,
            parent=trace.traceparent,
            attributes={
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": self._channel,
                "chat.connection": number,
                "chat.frame": trace.frame,
            },
        )
        connection = self._connections.get(number)
        if connection is None:
            span.end(failed="the connection is gone")
        else:
            connection.when_left(span.end)


def traced_outbox(tracer: Tracer) -> Callable[..., Outbox]:
    """Give what makes an outbox that traces."""
    return partial(TracedOutbox, tracer=tracer)


def traced_dispatcher(tracer: Tracer, channel: str) -> Callable[..., Dispatcher]:
    """Give what makes a dispatcher that traces."""
    return partial(TracedDispatcher, tracer=tracer, channel=channel)
