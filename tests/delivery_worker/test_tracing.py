"""A worker that traces: what it tells of a batch's events, whatever becomes of them."""

from collections.abc import Sequence
from typing import Any

import pytest
from chatcore.delivery import Memory, Plan
from chatcore.errors import StoreUnavailable
from chatcore.keys import Keys, Member
from chatcore.push import Kind, Trace, records
from chatcore.redis_client import connect_to
from chatcore.stream import ack_item, encode_entry, send_item
from chatcore.trace import COMMIT, PROCESS_IN, SEND_GW, SETTLE_IN, traced_item
from delivery_worker.batch import Batch
from delivery_worker.committer import Outcome
from delivery_worker.inbox import StreamEntry
from delivery_worker.metrics import WorkerMetrics
from delivery_worker.router import Publications
from delivery_worker.store.batches import Fence, Sought, Wanted
from delivery_worker.tracing import TracedCommitter, TracedRouter, Traces
from delivery_worker.undelivered import Undelivered
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client import CollectorRegistry

from tests.harness.spans import memory_tracer
from tests.harness.system import free_port

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TWO = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEYS = Keys()


class Store:
    """A store that owns what it is told to, or fails."""

    def __init__(self, *, owned: bool = True, lost: bool = False, fails: bool = False) -> None:
        self.owned, self.lost, self.fails = owned, lost, fails

    async def begin(
        self,
        epoch: int,
        partitions: Sequence[int],
        wanted: Sequence[Wanted],
        sought: Sequence[Sought],
        *,
        skip_locked: bool,
    ) -> Fence:
        if self.fails:
            raise StoreUnavailable("MySQL")
        all_of_them = frozenset(partitions)
        return Fence(1, all_of_them if self.owned else frozenset(), all_of_them if self.lost else frozenset(), {})

    async def commit(self, plan: Plan, now: int) -> None:
        pass

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        pass

    async def rollback(self) -> None:
        pass


def send(client_id: str, trace: str | None = None) -> Any:
    item = send_item(1, "alice", "phone", "bob", client_id, "hi", None)
    return item if trace is None else traced_item(item, trace)


def entry(*items: Any) -> StreamEntry:
    return StreamEntry(0, b"5-0", encode_entry("g1", 1, items))


class Hands:
    """A loop's parts that trace, driven by hand."""

    def __init__(self, store: Any = None) -> None:
        tracer, self.exporter = memory_tracer("delivery-worker")
        self.traces = Traces(tracer, keys=KEYS, worker="w.1")
        given = store or Store(), Memory(), WorkerMetrics(CollectorRegistry()), Undelivered()
        self.committer = TracedCommitter(*given, traces=self.traces)

    async def commit(self, *entries: StreamEntry) -> Outcome:
        batch = self.traces.batch(list(entries), 1)
        return await self.committer.commit(3, batch.items, replay=False)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def of_messages(self) -> list[ReadableSpan]:
        return [span for span in self.spans(PROCESS_IN) if span.parent is not None]


def attribute(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


async def test_a_batch_without_traced_events_leaves_no_span() -> None:
    hands = Hands()
    await hands.commit(entry(send("c1")))
    assert hands.traces.hand is None
    assert hands.exporter.get_finished_spans() == ()
    assert type(make_router(hands).make_publications()) is Publications


async def test_a_traced_event_is_told_with_the_number_that_it_got_and_who_gave_it() -> None:
    hands = Hands()
    await hands.commit(
        entry(send("c1"), send("c2", ONE), traced_item(ack_item(1, "bob", "p", "alice", 1, 0, None), TWO))
    )
    hands.traces.done()
    message, ack = sorted(hands.of_messages(), key=lambda span: attribute(span, "chat.delivered") or 0)
    assert attribute(message, "chat.seq") == 2
    assert attribute(ack, "chat.delivered") == 1
    for span in (message, ack):
        assert attribute(span, "chat.worker") == "w.1"
        assert attribute(span, "chat.epoch") == 3
        assert attribute(span, "messaging.message.id") == "5-0"
        assert attribute(span, "messaging.batch.message_count") == 3
    assert len(hands.spans(COMMIT)) == 2


@pytest.mark.parametrize(("store", "why"), [(Store(owned=False), "locked"), (Store(owned=False, lost=True), "fenced")])
async def test_an_event_that_was_left_out_says_why_and_is_not_published(store: Store, why: str) -> None:
    hands = Hands(store)
    outcome = await hands.commit(entry(send("c1", ONE)))
    [span] = hands.of_messages()
    assert span.status.description == why
    await make_router(hands).publish(outcome.plans, settle=[])
    assert hands.spans(SEND_GW) == []


async def test_a_commit_that_failed_ends_the_tries_spans_and_the_next_try_has_its_own() -> None:
    store = Store(fails=True)
    hands = Hands(store)
    with pytest.raises(StoreUnavailable):
        await hands.commit(entry(send("c1", ONE)))
    assert [span.status.description for span in hands.of_messages()] == ["StoreUnavailable"]
    store.fails = False
    await hands.commit(entry(send("c1", ONE)))
    hands.traces.done()
    assert [span.status.description for span in hands.of_messages()] == ["StoreUnavailable", None]


async def test_a_publication_that_failed_is_told_with_its_settling() -> None:
    hands = Hands()
    outcome = await hands.commit(entry(send("c1", ONE)))
    router = make_router(hands)
    with pytest.raises(StoreUnavailable):
        await router.publish(outcome.plans, settle=[])
    assert [span.status.description for span in (*hands.spans(SEND_GW), *hands.spans(SETTLE_IN))] == [
        "StoreUnavailable",
        "StoreUnavailable",
    ]


async def test_only_the_frames_of_traced_messages_are_followed_by_their_trace() -> None:
    hands = Hands()
    outcome = await hands.commit(entry(send("c1"), send("c2", ONE)))
    assert hands.traces.hand is not None
    hands.traces.hand.publish(1)
    publications = make_router(hands).make_publications()
    routes = {"bob": [Member("phone", "g1", 7, 1)], "alice": [Member("phone", "g1", 1, 1), Member("pad", "g2", 2, 1)]}
    for made in outcome.plans:
        for answer in made.answers:
            publications.answer(answer)
        for push in made.pushes:
            publications.push(push, routes)
    told = {
        gateway: [(Kind(kind), number) for kind, number, _ in records(bytes(publication))]
        for gateway, publication in publications.by_gateway.items()
    }
    sent, message, trace = Kind.ANSWER, Kind.FRAME, Kind.TRACE
    assert told["g1"] == [(sent, 1), (sent, 1), (trace, 1), (message, 7), (message, 7), (trace, 7)]
    assert told["g2"] == [(message, 2), (message, 2), (trace, 2)]
    of_frames = [
        Trace.decode(payload) for kind, _, payload in records(bytes(publications.by_gateway["g1"])) if kind == trace
    ]
    assert [one.frame for one in of_frames] == ["sent", "message"]
    assert {one.traceparent for one in of_frames} == {hands.traces.hand.events[0].published}


def test_a_loop_that_traces_handles_the_same_batch() -> None:
    entries = [entry(send("c1"), send("c2", ONE)), StreamEntry(0, b"6-0", b"damaged")]
    plain, traced = Batch(entries, 1), Hands().traces.batch(entries, 1)
    assert (traced.items, traced.dead, traced.refused, traced.packed) == (
        plain.items,
        plain.dead,
        plain.refused,
        plain.packed,
    )


def make_router(hands: Hands) -> TracedRouter:
    """A router whose Redis is away."""
    connect = connect_to(f"redis://127.0.0.1:{free_port()}/0")
    return TracedRouter(connect, keys=KEYS, worker="w.1", dead_letters=1, traces=hands.traces)
