"""Playbooks of the delivery core: what one batch does to a conversation."""

from chatcore.delivery import Conversation, Message, Plan, Receipt, Refused, Sent, new_conversation, plan
from chatcore.delivery.state import KNOWN_AUTHORS, KNOWN_IDS, Known, digest_of
from chatcore.errors import Code
from chatcore.ids import conversation_id
from chatcore.stream import AckEvent, Event, Origin, SendEvent

CONVERSATION = conversation_id("alice", "bob")
ALICE = Origin("g1", 1, "alice", "phone")
BOB = Origin("g2", 2, "bob", "desk")
NOW = 1_000


def send(client_id: str, body: str = "hi", origin: Origin = ALICE) -> SendEvent:
    return SendEvent(origin, "bob" if origin.user == "alice" else "alice", client_id, body)


def ack(delivered: int, read: int = 0, origin: Origin = BOB) -> AckEvent:
    return AckEvent(origin, "bob" if origin.user == "alice" else "alice", delivered, read)


def run(*events: Event, state: Conversation | None = None, now: int = NOW) -> Plan:
    states = {CONVERSATION: state or new_conversation("alice", "bob")}
    return plan([(CONVERSATION, event) for event in events], states, now)


def after(*events: Event, state: Conversation | None = None) -> Conversation:
    return run(*events, state=state).states[CONVERSATION]


def stored(**changes: object) -> Conversation:
    """A conversation as it is read from MySQL by an owner that has just taken over."""
    empty = {"told": (False, False), "known": {}, "cursors": {}, "floor": 2, "authors": b""}
    return after(send("c1"), send("c2"), ack(1))._replace(**{**empty, **changes})


def test_sends_are_numbered_from_one_in_their_order() -> None:
    made = run(send("c1"), send("c2"), send("c3"))
    assert [row.seq for row in made.messages] == [1, 2, 3]
    assert [row.client_id for row in made.messages] == ["c1", "c2", "c3"]
    assert [answer.seq for answer in made.answers if isinstance(answer, Sent)] == [1, 2, 3]


def test_a_send_stamps_the_rows_of_both_users() -> None:
    made = run(send("c1"))
    assert {(row.user, row.peer, row.last, row.last_ts) for row in made.members} == {
        ("alice", "bob", 1, NOW),
        ("bob", "alice", 1, NOW),
    }


def test_the_states_that_were_given_are_left_as_they_are() -> None:
    state = after(send("c1"))
    copy = state._replace(known=dict(state.known), cursors=dict(state.cursors))
    run(send("c2"), ack(1), state=state)
    assert state == copy


def test_the_same_id_twice_in_a_batch_makes_one_row_and_two_equal_answers() -> None:
    made = run(send("c1"), send("c1"))
    assert len(made.messages) == 1
    assert made.answers[0] == made.answers[1]
    assert made.duplicates == 1
    assert sum(isinstance(push, Message) for push in made.pushes) == 1


def test_a_remembered_id_is_answered_as_before_and_not_published_again() -> None:
    made = run(send("c1"), state=after(send("c1")), now=NOW + 5)
    assert not made.writes
    assert made.answers == [Sent(ALICE, "c1", "bob", 1, NOW, None)]
    assert made.pushes == []


def test_an_id_found_in_mysql_is_published_to_everybody_again() -> None:
    known = {(0, "c1"): Known(1, 7, digest_of("hi"), "tablet", replay=True)}
    made = run(send("c1"), state=stored(known=known))
    assert not made.messages
    [push] = made.pushes
    assert isinstance(push, Message)
    assert (push.row.seq, push.row.ts, push.row.device) == (1, 7, "tablet")
    assert made.answers == [Sent(ALICE, "c1", "bob", 1, 7, None)]


def test_another_body_under_a_taken_id_is_a_conflict_and_changes_nothing() -> None:
    made = run(send("c1", "other"), state=after(send("c1")))
    assert made.answers == [Refused(ALICE, Code.ID_CONFLICT, "bob", "c1", None)]
    assert not made.writes
    assert made.pushes == []


def test_both_users_may_use_the_same_id() -> None:
    made = run(send("c1"), send("c1", origin=BOB))
    assert [(row.sender, row.seq) for row in made.messages] == [("alice", 1), ("bob", 2)]


def test_an_ack_raises_the_cursor_and_the_delivered_mark_and_tells_the_peer() -> None:
    made = run(ack(1), state=after(send("c1")))
    assert [(row.user, row.device, row.seq) for row in made.cursors] == [("bob", "desk", 1)]
    assert made.pushes == [Receipt("bob", "alice", 1, 0, to_peer=True, to_self=False, device="desk")]


def test_a_read_ack_implies_delivery_and_tells_the_own_other_devices() -> None:
    made = run(ack(0, 1), state=after(send("c1")))
    assert made.pushes == [Receipt("bob", "alice", 1, 1, to_peer=True, to_self=True, device="desk")]


def test_several_acks_of_a_batch_make_one_receipt_with_the_last_marks() -> None:
    made = run(ack(1), ack(2), ack(0, 1), state=after(send("c1"), send("c2")))
    assert made.pushes == [Receipt("bob", "alice", 2, 1, to_peer=True, to_self=True, device="desk")]


def test_an_ack_over_own_messages_alone_tells_the_peer_nothing() -> None:
    made = run(ack(1, origin=ALICE), state=after(send("c1")))
    assert [(row.user, row.delivered) for row in made.members] == [("alice", 1), ("bob", 0)]
    assert made.pushes == []


def test_an_ack_over_a_message_of_the_same_batch_tells_its_author() -> None:
    made = run(send("c1"), ack(1))
    assert made.pushes[1] == Receipt("bob", "alice", 1, 0, to_peer=True, to_self=False, device="desk")


def test_an_ack_beyond_the_last_message_is_refused_and_changes_nothing() -> None:
    made = run(ack(2), ack(0, 2), state=after(send("c1")))
    assert [(a.code, a.peer) for a in made.answers if isinstance(a, Refused)] == [(Code.ACK_AHEAD, "alice")] * 2
    assert not made.writes


def test_an_older_ack_changes_nothing() -> None:
    made = run(ack(1), state=after(send("c1"), send("c2"), ack(2)))
    assert not made.writes
    assert made.pushes == []


def test_a_second_devices_ack_moves_its_cursor_alone() -> None:
    made = run(ack(1, origin=BOB._replace(device="phone")), state=after(send("c1"), ack(1)))
    assert [(row.device, row.seq) for row in made.cursors] == [("phone", 1)]
    assert made.members == []


def test_marks_read_from_mysql_are_told_again_when_they_are_said_again() -> None:
    # The owner before may have died between its commit and its publication (R3).
    made = run(ack(1), state=stored())
    assert made.pushes == [Receipt("bob", "alice", 1, 0, to_peer=True, to_self=True, device=None)]
    assert run(ack(1), state=made.states[CONVERSATION]).pushes == []


def test_a_read_mark_that_another_device_said_reaches_the_one_that_acks_after_a_takeover() -> None:
    # The phone's read mark was committed, and its owner died before it told the desk.
    made = run(ack(2), state=stored(delivered=(0, 2), read=(0, 1)))
    assert made.pushes == [Receipt("bob", "alice", 2, 1, to_peer=True, to_self=True, device=None)]


def test_an_ack_below_marks_read_from_mysql_tells_nothing() -> None:
    assert run(ack(1), state=stored(delivered=(0, 2))).pushes == []


def test_an_event_of_a_stranger_is_no_event_of_the_conversation() -> None:
    eve = Origin("g1", 3, "eve", "phone")
    try:
        run(SendEvent(eve, "bob", "c1", "hi"))
    except ValueError:
        return
    raise AssertionError("a stranger's send was planned")


def test_what_is_remembered_of_a_conversation_is_bounded() -> None:
    state = new_conversation("alice", "bob")
    for start in range(0, 3_000, 100):
        state = after(*(send(f"c{start + i}") for i in range(100)), state=state)
    assert state.last == 3_000
    assert len(state.known) == KNOWN_IDS
    assert len(state.authors) <= 2 * KNOWN_AUTHORS
    assert state.floor + len(state.authors) == state.last
    assert state.covers(0, 2_999, 3_000)
    assert not state.covers(1, 2_999, 3_000)
    assert state.covers(1, 0, 3_000), "where nobody remembers, the answer is yes"
