"""What an owner knows of messages that were confirmed and did not arrive yet."""

import pytest
from chatcore.delivery import Conversation, Plan, new_conversation, plan
from chatcore.ids import conversation_id, partition_of
from chatcore.stream import AckEvent, Event, Origin, SendEvent
from delivery_worker import undelivered as module
from delivery_worker.undelivered import MAX_PUBLICATIONS, Undelivered

AB = conversation_id("alice", "bob")


class Owner:
    """Plans events as a worker does, and remembers."""

    def __init__(self) -> None:
        self.state: Conversation = new_conversation("alice", "bob")
        self.sent = 0
        self.undelivered = Undelivered()

    def send(self, *, by: str = "alice", online: tuple[str, ...] = ("alice", "bob"), now: float = 0.0) -> int:
        peer = "bob" if by == "alice" else "alice"
        self.sent += 1
        made = self.plan(SendEvent(Origin("g", 1, by, "phone"), peer, f"c{self.sent}", "hi"))
        return self.undelivered.published([made], online, now)

    def ack(self, seq: int, *, by: str = "bob", now: float = 0.0) -> list[tuple[int, float]]:
        peer = "bob" if by == "alice" else "alice"
        made = self.plan(AckEvent(Origin("g", 2, by, "phone"), peer, seq, 0))
        return [(count, waited) for count, waited in self.undelivered.acknowledged(made.states, now)]

    def plan(self, event: Event) -> Plan:
        made = plan([(AB, event)], {AB: self.state}, 1)
        self.state = made.states[AB]
        return made


def test_a_message_waits_from_its_publication_to_its_acknowledgement() -> None:
    owner = Owner()
    owner.send(now=10.0)
    assert owner.undelivered.oldest_s(now=13.0) == 3.0
    assert owner.ack(1, now=14.0) == [(1, 4.0)]
    assert owner.undelivered.oldest_s(now=15.0) == 0.0
    assert len(owner.undelivered) == 0


def test_a_recipient_without_a_connection_is_not_waited_for() -> None:
    owner = Owner()
    owner.send(online=("alice",), now=10.0)
    assert len(owner.undelivered) == 0


def test_the_senders_own_acknowledgement_delivers_nothing() -> None:
    owner = Owner()
    owner.send(now=10.0)
    assert owner.ack(1, by="alice", now=11.0) == []
    assert owner.undelivered.oldest_s(now=12.0) == 2.0


def test_an_acknowledgement_takes_off_what_it_covers_and_no_more() -> None:
    owner = Owner()
    for second in range(3):
        owner.send(now=float(second))
    assert owner.ack(2, now=5.0) == [(1, 5.0), (1, 4.0)]
    assert owner.undelivered.oldest_s(now=5.0) == 3.0


def test_both_users_wait_for_each_others_messages() -> None:
    owner = Owner()
    owner.send(now=1.0)
    owner.send(by="bob", now=2.0)
    assert len(owner.undelivered) == 2
    assert owner.ack(2, by="alice", now=3.0) == [(1, 1.0)]
    assert owner.undelivered.oldest_s(now=3.0) == 2.0


def test_many_publications_of_one_recipient_are_taken_for_older_than_they_are_and_all_counted() -> None:
    owner = Owner()
    for second in range(3 * MAX_PUBLICATIONS):
        owner.send(now=float(second))
    acks = owner.ack(owner.sent, now=100.0)
    assert len(acks) == MAX_PUBLICATIONS
    assert sum(count for count, _ in acks) == owner.sent


def test_a_message_that_is_published_again_waits_from_its_first_publication() -> None:
    owner = Owner()
    made = owner.plan(SendEvent(Origin("g", 1, "alice", "phone"), "bob", "c1", "hi"))
    owner.undelivered.published([made], ("bob",), 1.0)
    owner.undelivered.published([made], ("bob",), 9.0)
    assert owner.ack(1, now=10.0) == [(1, 9.0)]


def test_past_the_bound_recipients_are_counted_and_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECIPIENTS", 1)
    owner = Owner()
    assert owner.send() == 0
    assert owner.send(by="bob") == 1
    assert len(owner.undelivered) == 1


def test_the_oldest_are_named_first() -> None:
    owner = Owner()
    owner.send(now=1.0)
    owner.send(by="bob", now=2.0)
    assert [user for _, user, _ in owner.undelivered.older_than(1.0, 10.0, 5)] == ["bob", "alice"]
    assert [user for _, user, _ in owner.undelivered.older_than(1.0, 10.0, 1)] == ["bob"]
    assert list(owner.undelivered.older_than(8.5, 10.0, 5)) == [(AB, "bob", 9.0)]


def test_what_is_anothers_now_is_forgotten() -> None:
    owner = Owner()
    owner.send()
    assert owner.undelivered.retain({partition_of(AB, 32)}, 32) == 0
    assert owner.undelivered.retain(set(), 32) == 1
    assert len(owner.undelivered) == 0


def test_a_recipient_may_be_forgotten_twice() -> None:
    owner = Owner()
    owner.send()
    owner.undelivered.forget(AB, "bob")
    owner.undelivered.forget(AB, "bob")
    assert len(owner.undelivered) == 0
