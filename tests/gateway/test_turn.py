"""What arrived in one turn, coalesced and packed."""

from itertools import permutations
from typing import Any

import pytest
from chatcore.stream import MAX_ENTRY_BYTES, Connected, Disconnected, Unsubscribed, ack_item, send_item
from chatcore.trace import traced_item
from gateway.turn import Turn, place

N = 4


def send(number: int, to: str = "bob") -> object:
    return send_item(1, "alice", "phone", to, f"c{number}", "hi", None)


def test_sends_of_one_conversation_stay_in_order_in_one_entry() -> None:
    turn = Turn()
    for number in range(5):
        assert turn.send(place("alice", "bob", N), send(number), 100)
    entries, held = turn.entries(N, frozenset())
    assert [[item[5] for item in items] for _, items in entries] == [["c0", "c1", "c2", "c3", "c4"]]
    assert held == []


def test_an_entry_that_grows_too_large_is_split_in_order() -> None:
    turn = Turn()
    for number in range(4):
        turn.send(0, send(number), MAX_ENTRY_BYTES // 2)
    entries, _ = turn.entries(N, frozenset())
    assert [[item[5] for item in items] for _, items in entries] == [["c0", "c1"], ["c2", "c3"]]


def test_of_traced_acknowledgements_the_newest_ones_trace_is_kept() -> None:
    turn = Turn()
    for delivered, trace in ((5, "first"), (9, "second")):
        turn.ack(traced_item(ack_item(1, "bob", "phone", "alice", delivered, 0, None), trace))
    turn.ack(traced_item(ack_item(1, "bob", "phone", "alice", 7, 0, None), "older"), late=True)
    (entry,), _ = turn.entries(N, frozenset())
    assert [(item[5], item[8]) for item in entry[1]] == [(7, "older"), (9, "second")]


def test_of_many_acknowledgements_the_newest_marks_are_kept_and_the_ones_below() -> None:
    turn = Turn()
    for delivered, read in ((5, 0), (3, 3), (9, 0), (9, 4)):
        turn.ack(ack_item(1, "bob", "phone", "alice", delivered, read, None))
    (entry,), _ = turn.entries(N, frozenset())
    assert [item[5:7] for item in entry[1]] == [(5, 3), (9, 4)]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("marks", list(permutations([(5, 0), (7, 7), (99, 99), (6, 0)])))
def test_one_that_claims_too_much_takes_no_other_with_it(marks: tuple[tuple[int, int], ...], late: bool) -> None:
    turn, again = Turn(), Turn()
    for delivered, read in marks:
        turn.ack(ack_item(1, "bob", "phone", "alice", delivered, read, None))
    for item in turn.acknowledgements():
        again.ack(item, late=late)
    for one in (turn, again):
        (entry,), _ = one.entries(N, frozenset())
        assert [item[5:7] for item in entry[1]] == [(7, 7), (99, 99)]


def test_an_acknowledgement_that_comes_back_late_raises_the_newer_one_and_leaves_it_its_connection() -> None:
    turn = Turn()
    turn.ack(ack_item(2, "bob", "phone", "alice", 5, 0, None))
    turn.ack(ack_item(1, "bob", "phone", "alice", 4, 4, None), late=True)
    (entry,), _ = turn.entries(N, frozenset())
    assert entry[1][-1] == ack_item(2, "bob", "phone", "alice", 5, 4, None)


def test_an_acknowledgement_with_a_ref_is_answered_for_itself() -> None:
    turn = Turn()
    acks = [ack_item(1, "bob", "phone", "alice", seq, 0, ref) for seq, ref in ((99, "w"), (5, "v"), (98, "w2"))]
    for ack in acks:
        turn.ack(ack)
    (entry,), _ = turn.entries(N, frozenset())
    assert entry[1] == acks


def test_acknowledgements_of_two_devices_are_two() -> None:
    turn = Turn()
    for device in ("phone", "laptop"):
        turn.ack(ack_item(1, "bob", device, "alice", 1, 0, None))
    assert len(turn.acks) == 2


def test_acknowledgements_of_a_full_stream_wait_and_others_go() -> None:
    turn = Turn()
    full = place("bob", "alice", N)
    other = next(f"u{n}" for n in range(100) if place("bob", f"u{n}", N) != full)
    for peer in ("alice", other):
        turn.ack(ack_item(1, "bob", "phone", peer, 1, 0, None))
    entries, held = turn.entries(N, frozenset({full}))
    assert [item[4] for item in held] == ["alice"]
    assert [item[4] for _, items in entries for item in items] == [other]


def test_packing_twice_gives_the_same() -> None:
    turn = Turn()
    turn.send(place("alice", "bob", N), send(1), 100)
    turn.ack(ack_item(1, "alice", "phone", "bob", 1, 0, None))
    assert turn.entries(N, frozenset()) == turn.entries(N, frozenset())
    assert len(list(turn.refused())) == 1


def test_past_its_bounds_a_turn_refuses_and_of_acknowledgements_drops_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.turn.MAX_SENDS", 3)
    monkeypatch.setattr("gateway.turn.MAX_ACKS", 3)
    monkeypatch.setattr("gateway.turn.MAX_SOFT", 3)
    turn = Turn()
    assert [turn.send(0, send(n), 1) for n in range(4)] == [True, True, True, False]
    assert [turn.ack(ack_item(1, f"u{n}", "d", "bob", 1, 0, None)) for n in range(4)] == [True, True, True, False]
    assert [key[0] for key in turn.acks] == ["u1", "u2", "u3"]
    assert [turn.tell(Unsubscribed(f"u{n}", "g")) for n in range(4)] == [True, True, True, False]
    request: Any = object()
    assert [turn.request(request) for _ in range(4)] == [True, True, True, False]


def test_who_came_and_who_went_is_taken_past_every_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.turn.MAX_SOFT", 0)
    turn = Turn()
    assert turn.tell(Connected("u", "m"))
    assert turn.tell(Disconnected("u", "m"))
