"""Owns a worker's spans: of each traced event from its entry to the publication, and of its batch.

Only where tracing is on. A batch is handled as one, so its times are those of each of its events: every traced event
gets spans of its own in its own trace, and the batch a trace apart that links to them. What is not traced passes.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from chatcore.delivery import Answer, Message, Plan, Receipt, Refused
from chatcore.ids import conversation_id
from chatcore.keys import Keys, group_of
from chatcore.push import Kind, Trace
from chatcore.trace import COMMIT, PROCESS_IN, SEND_GW, SETTLE_IN, Traced, traced_of
from chatcore.tracing import Attributes, Span, SpanKind, Tracer

from delivery_worker.batch import Batch, Item
from delivery_worker.committer import Committer, Outcome
from delivery_worker.inbox import StreamEntry
from delivery_worker.router import Publications, RedisRouter, Routes

Key = tuple[str, str, str]
"""Sender, recipient, client id: names a send of a batch."""
_PROCESS: Final = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
_COMMIT: Final = {"db.system.name": "mysql", "db.operation.name": "COMMIT"}
_SEND: Final = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
_SETTLE: Final = {"messaging.operation.name": "settle", "messaging.operation.type": "settle"}


class Followed:
    """A traced event of the batch in hand."""

    def __init__(self, tracer: Tracer, traced: Traced, entry: StreamEntry, *, stream: str, batch: str) -> None:
        self._tracer = tracer
        self.partition = entry.partition
        self.seq: int | None = None
        conversation = conversation_id(traced.user, traced.peer)
        marks = {} if traced.client_id else {"chat.delivered": traced.delivered, "chat.read": traced.read}
        self.span = tracer.start(
            PROCESS_IN,
            SpanKind.CONSUMER,
            parent=traced.traceparent,
            links=[batch],
            attributes={
                **_PROCESS,
                "messaging.destination.name": stream,
                "messaging.destination.partition.id": str(entry.partition),
                "messaging.message.id": entry.id.decode(),
                "messaging.message.conversation_id": conversation.hex(),
                **marks,
            },
        )
        self.steps: list[Span] = []
        self.published = ""

    def step(self, name: str, kind: SpanKind, attributes: Attributes) -> Span:
        """Begin a step of it."""
        span = self._tracer.start(name, kind, parent=self.span.traceparent, attributes=attributes)
        self.steps.append(span)
        return span

    def end_steps(self, failed: str | None = None) -> None:
        """End the steps that are open."""
        for span in self.steps:
            if self.seq is not None:
                span.set({"chat.seq": self.seq})
            span.end(failed=failed)
        self.steps.clear()

    def end(self, failed: str | None = None) -> None:
        """End it."""
        self.end_steps(failed)
        self.span.end(failed=failed)


class Hand:
    """The batch in hand, of which something is traced."""

    def __init__(self, tracer: Tracer, keys: Keys, worker: str, found: Sequence[tuple[StreamEntry, Traced]]) -> None:
        links = [traced.traceparent for _, traced in found]
        self.span = tracer.start(PROCESS_IN, SpanKind.CONSUMER, links=links, attributes={**_PROCESS})
        self.events: list[Followed] = []
        self.by_key: dict[Key, Followed] = {}
        self._worker = worker
        for entry, traced in found:
            stream = keys.inbox(entry.partition)
            one = Followed(tracer, traced, entry, stream=stream, batch=self.span.traceparent)
            self.events.append(one)
            if traced.client_id is not None:
                self.by_key[traced.user, traced.peer, traced.client_id] = one

    def commit(self, epoch: int, count: int) -> None:
        """The commit begins."""
        owner: Attributes = {
            "chat.worker": self._worker,
            "chat.epoch": epoch,
            "messaging.consumer.group.name": group_of(epoch),
        }
        self.span.set({**owner, "messaging.batch.message_count": count})
        for one in self.events:
            one.span.set({**owner, "messaging.batch.message_count": count})
            one.step(COMMIT, SpanKind.CLIENT, _COMMIT)

    def committed(self, outcome: Outcome) -> None:
        """The commit ended. What was left out is done with here, and comes again or is another's."""
        for plan in outcome.plans:
            for answer in plan.answers:
                self._answered(answer)
        for one in self.events:
            left = "fenced" if one.partition in outcome.lost else "locked" if one.partition in outcome.locked else None
            one.end_steps(left)
            if left:
                one.span.end(failed=left)
        self.events = [one for one in self.events if one.partition not in outcome.lost | outcome.locked]

    def _answered(self, answer: Answer) -> None:
        if answer.client_id is None:
            return
        one = self.by_key.get((answer.origin.user, answer.peer, answer.client_id))
        if one is None:
            return
        if isinstance(answer, Refused):
            one.span.set({"chat.refused": answer.code.value})
        else:
            one.seq = answer.seq
            one.span.set({"chat.seq": answer.seq})

    def publish(self, settle: int) -> None:
        """The publication begins, and with it the settling."""
        for one in self.events:
            one.published = one.step(SEND_GW, SpanKind.PRODUCER, _SEND).traceparent
            one.step(SETTLE_IN, SpanKind.CLIENT, {**_SETTLE, "messaging.batch.message_count": settle})

    def end(self, failed: str | None = None) -> None:
        """The batch ended."""
        for one in self.events:
            one.end(failed)
        self.span.end(failed=failed)


class Traces:
    """What is traced of the batches of one loop, one at a time."""

    def __init__(self, tracer: Tracer, *, keys: Keys, worker: str) -> None:
        self._tracer, self._keys, self._worker = tracer, keys, worker
        self.hand: Hand | None = None

    def batch(self, entries: list[StreamEntry], partitions: int) -> Batch:
        """Make the batch that is in hand from now on."""
        found = [(entry, traced) for entry in entries for traced in traced_of(entry.data)]
        self.hand = Hand(self._tracer, self._keys, self._worker, found) if found else None
        return Batch(entries, partitions)

    def done(self, failed: str | None = None) -> None:
        """Nothing is in hand any more."""
        if self.hand is not None:
            self.hand.end(failed)
            self.hand = None


class TracedCommitter(Committer):
    """A committer that tells how long a traced event's commit took, and what came of it."""

    def __init__(self, *given: Any, traces: Traces) -> None:
        super().__init__(*given)
        self._traces = traces

    async def commit(self, epoch: int, items: Sequence[Item], *, replay: bool) -> Outcome:
        """Commit; see `Committer.commit`."""
        hand = self._traces.hand
        if hand is None:
            return await super().commit(epoch, items, replay=replay)
        hand.commit(epoch, len(items))
        try:
            outcome = await super().commit(epoch, items, replay=replay)
        except BaseException as error:
            self._traces.done(failed=type(error).__name__)
            raise
        hand.committed(outcome)
        return outcome


class TracedPublications(Publications):
    """Publications that name the trace behind each frame of a traced message."""

    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self._hand = hand

    def answer(self, answer: Answer) -> None:
        """Answer an event."""
        super().answer(answer)
        if answer.client_id is not None:
            origin, frame = answer.origin, "error" if isinstance(answer, Refused) else "sent"
            key = origin.user, answer.peer, answer.client_id
            self._trace(key, frame, [(origin.gateway, origin.connection)])

    def push(self, push: Message | Receipt, routes: Routes) -> None:
        """Tell the devices of both users."""
        super().push(push, routes)
        if isinstance(push, Message):
            row = push.row
            members = [*routes.get(push.peer, ()), *(m for m in routes.get(row.sender, ()) if m.device != row.device)]
            key = row.sender, push.peer, row.client_id
            self._trace(key, "message", [(member.gateway, member.connection) for member in members])

    def _trace(self, key: Key, frame: str, to: Sequence[tuple[str, int]]) -> None:
        one = self._hand.by_key.get(key)
        if one is not None and one.published:
            payload = Trace(one.published, frame).encode()
            for gateway, connection in to:
                self.add(gateway, Kind.TRACE, connection, payload)


class TracedRouter(RedisRouter):
    """A router that tells how long it took, and names the traces to the gateways."""

    def __init__(self, *given: Any, traces: Traces, **named: Any) -> None:
        super().__init__(*given, **named)
        self._traces = traces

    async def publish(self, plans: Sequence[Plan], **named: Any) -> Collection[str]:
        """Publish and settle; see `RedisRouter.publish`."""
        hand = self._traces.hand
        if hand is None:
            return await super().publish(plans, **named)
        hand.publish(len(named.get("settle", ())))
        try:
            online = await super().publish(plans, **named)
        except BaseException as error:
            self._traces.done(failed=type(error).__name__)
            raise
        self._traces.done()
        return online

    def make_publications(self) -> Publications:
        """Make what a batch's records are gathered in."""
        hand = self._traces.hand
        return super().make_publications() if hand is None else TracedPublications(hand)
