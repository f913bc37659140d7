"""The checker must be able to fail: each property catches the run in which its promise was broken by hand."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from chatctl.verify.case import Case
from chatctl.verify.final_state import Entry, FinalState, StreamEnd
from chatctl.verify.history import (
    Acked,
    Claimed,
    Closed,
    Connecting,
    Garbled,
    Half,
    History,
    Observation,
    PresenceTold,
    Probe,
    Refusal,
    Seen,
    Sending,
    Sent,
    Stalling,
    SyncDone,
    Synced,
    Welcomed,
    digest,
)
from chatctl.verify.properties import PROPERTIES, judged, violations

from tests.chatctl.verify.good_run import BEYOND, LOG, ONE, PAIR, THREE, TWO, good_run, with_fault

Run = tuple[History, FinalState]
Mutation = Callable[[History, FinalState], Run]
MUTANTS: list[tuple[str, str, Mutation]] = []


def caught_by(*names: str) -> Callable[[Mutation], Mutation]:
    def note(mutation: Mutation) -> Mutation:
        MUTANTS.extend((name, mutation.__name__.strip("_"), mutation) for name in names)
        return mutation

    return note


def _change(history: History, wanted: Callable[[Any], bool], **fields: Any) -> None:
    place = next(n for n, item in enumerate(history.observations) if wanted(item))
    history.observations[place] = replace(history.observations[place], **fields)


def _drop(history: History, wanted: Callable[[Any], bool]) -> None:
    history.observations = [item for item in history.observations if not wanted(item)]


def _insert(history: History, *items: Observation) -> None:
    history.observations = sorted([*history.observations, *items], key=lambda item: item.at_s)


def _is(kind: type[Observation], **fields: Any) -> Callable[[Any], bool]:
    return lambda item: isinstance(item, kind) and all(getattr(item, name) == value for name, value in fields.items())


def _logs(final: FinalState, *log: Entry) -> FinalState:
    return replace(final, logs={PAIR: list(log)}, mirrors={PAIR: list(log)}, rows={PAIR: list(log)})


def _device(final: FinalState, place: int, **fields: Any) -> FinalState:
    devices = list(final.devices)
    devices[place] = replace(devices[place], **fields)
    return replace(final, devices=devices)


# --- what is stored and given out


@caught_by("confirmed_is_stored", "told_is_as_stored", "a_number_names_one_message", "accepted_is_accounted_for")
def _drop_a_confirmed_message(history: History, final: FinalState) -> Run:
    return history, _logs(final, *LOG[:2])


@caught_by("confirmed_is_stored")
def _renumber_the_log(history: History, final: FinalState) -> Run:
    return history, _logs(final, replace(LOG[1], seq=1), replace(LOG[0], seq=2), LOG[2])


@caught_by("confirmed_is_in_every_view")
def _hide_a_message_from_the_peer(history: History, final: FinalState) -> Run:
    return history, replace(final, mirrors={PAIR: list(LOG[:2])})


@caught_by("confirmed_is_in_every_view", "every_device_is_complete")
def _take_a_message_from_a_device(history: History, final: FinalState) -> Run:
    return history, _device(final, 1, held={"alice": {1: "a1", 3: "a2"}})


@caught_by("nothing_invented")
def _store_what_nobody_sent(history: History, final: FinalState) -> Run:
    return history, _logs(final, *LOG, Entry(4, "bob", "ghost", 13, ONE))


@caught_by("nothing_invented")
def _show_what_nobody_sent(history: History, final: FinalState) -> Run:
    _insert(history, Seen(5.0, "alice", "phone", 1, "bob", "bob", 4, "ghost", 13, ONE))
    return history, final


@caught_by("bodies_are_equal")
def _alter_a_body_on_its_way(history: History, final: FinalState) -> Run:
    _change(history, _is(Seen, id="b1"), digest=ONE)
    return history, final


@caught_by("bodies_are_equal")
def _alter_a_stored_body(history: History, final: FinalState) -> Run:
    return history, _logs(final, LOG[0], replace(LOG[1], digest=ONE), LOG[2])


@caught_by("bodies_are_equal")
def _let_a_forged_body_win(history: History, final: FinalState) -> Run:
    return history, _logs(final, replace(LOG[0], digest=digest("another")), *LOG[1:])


@caught_by("one_entry_per_message", "accepted_is_accounted_for")
def _duplicate_a_row(history: History, final: FinalState) -> Run:
    return history, _logs(final, *LOG, replace(LOG[0], seq=4))


@caught_by("one_entry_per_message")
def _answer_a_retry_with_another_number(history: History, final: FinalState) -> Run:
    _insert(history, Sent(9.0, "alice", "phone", 1, "bob", "a1", 2, 10))
    return history, final


@caught_by("one_entry_per_message")
def _answer_a_retry_with_another_time(history: History, final: FinalState) -> Run:
    _insert(history, Sent(9.0, "alice", "phone", 1, "bob", "a1", 1, 99))
    return history, final


@caught_by("refused_stays_out")
def _store_what_was_refused_for_good(history: History, final: FinalState) -> Run:
    _insert(history, Refusal(9.0, "alice", "phone", 1, "bob", "a1", "invalid_recipient", final=True))
    return history, final


@caught_by("nobody_sees_what_is_not_theirs")
def _leak_a_message_to_a_stranger(history: History, final: FinalState) -> Run:
    _insert(history, Seen(5.0, "wes", "phone", 3, "alice", "alice", 1, "a1", 10, ONE))
    return history, final


@caught_by("nobody_sees_what_is_not_theirs")
def _leak_a_receipt_to_a_stranger(history: History, final: FinalState) -> Run:
    _insert(history, Claimed(5.0, "wes", "phone", 3, "bob", "wes", 1, 1))
    return history, final


@caught_by("nobody_sees_what_is_not_theirs")
def _tell_of_presence_unasked(history: History, final: FinalState) -> Run:
    _insert(history, PresenceTold(5.0, "alice", "phone", 1, "carol", online=False))
    return history, final


@caught_by("nobody_sees_what_is_not_theirs")
def _answer_another_users_send(history: History, final: FinalState) -> Run:
    _insert(history, Sent(5.0, "wes", "phone", 3, "bob", "a1", 1, 10))
    return history, final


@caught_by("frames_are_the_protocols")
def _send_a_frame_of_no_protocol(history: History, final: FinalState) -> Run:
    _insert(history, Garbled(5.0, "alice", "phone", 1, "{}"))
    return history, final


@caught_by("accepted_is_accounted_for")
def _lose_an_accepted_message_without_a_trace(history: History, final: FinalState) -> Run:
    return history, replace(final, rows={PAIR: list(LOG[:2])})


@caught_by("settled_after_commit")
def _settle_before_the_commit(history: History, final: FinalState) -> Run:
    return history, replace(final, early=["entry 1-0 left its stream"])


@caught_by("fenced_worker_has_no_effect")
def _write_behind_the_fence(history: History, final: FinalState) -> Run:
    return history, replace(final, stale=["worker-1 wrote for worker-2"])


# --- numbers


@caught_by("numbers_have_no_holes")
def _leave_a_hole(history: History, final: FinalState) -> Run:
    return history, _logs(final, *LOG[:2], replace(LOG[2], seq=4))


@caught_by("a_number_names_one_message")
def _give_a_number_to_another_message(history: History, final: FinalState) -> Run:
    _insert(history, Seen(5.0, "bob", "laptop", 6, "alice", "alice", 1, "a2", 12, THREE))
    return history, final


@caught_by("all_end_with_the_same_log")
def _let_the_two_users_read_different_logs(history: History, final: FinalState) -> Run:
    return history, replace(final, mirrors={PAIR: [replace(LOG[0], ts=99), *LOG[1:]]})


@caught_by("all_end_with_the_same_log")
def _tell_a_new_device_of_less(history: History, final: FinalState) -> Run:
    return history, replace(final, fresh={"alice": {"bob": 2}})


@caught_by("all_end_with_the_same_log")
def _leave_a_conversation_out_of_the_list(history: History, final: FinalState) -> Run:
    return history, replace(final, listed={"alice": {}})


@caught_by("told_is_as_stored")
def _store_with_another_time(history: History, final: FinalState) -> Run:
    return history, _logs(final, replace(LOG[0], ts=99), *LOG[1:])


@caught_by("sender_order_is_kept", "later_sends_get_higher_numbers")
def _swap_two_sends_of_one_connection(history: History, final: FinalState) -> Run:
    return history, _logs(final, replace(LOG[2], seq=1), LOG[1], replace(LOG[0], seq=3))


@caught_by("later_sends_get_higher_numbers")
def _number_a_later_send_of_another_below(history: History, final: FinalState) -> Run:
    for kind in (Sent, Seen):
        _change(history, _is(kind, id="a1"), seq=2)
        _change(history, _is(kind, id="b1"), seq=1)
    return history, _logs(final, replace(LOG[1], seq=1), replace(LOG[0], seq=2), LOG[2])


@caught_by("every_device_is_complete")
def _leave_a_send_without_an_answer(history: History, final: FinalState) -> Run:
    return history, _device(final, 0, unanswered=frozenset({"a3"}))


@caught_by("every_device_is_complete")
def _leave_a_cursor_behind(history: History, final: FinalState) -> Run:
    return history, _device(final, 0, cursor={"bob": 2})


# --- marks


@caught_by("nothing_is_claimed_unsaid")
def _forge_a_delivery_receipt(history: History, final: FinalState) -> Run:
    _insert(history, Claimed(2.15, "alice", "phone", 1, "bob", "alice", 1, 0))
    return history, final


@caught_by("nothing_is_claimed_unsaid")
def _take_delivered_for_read(history: History, final: FinalState) -> Run:
    _change(history, _is(Acked, user="bob", seq=3), read=False)
    return history, final


@caught_by("nothing_is_claimed_unsaid")
def _store_a_mark_that_nobody_said(history: History, final: FinalState) -> Run:
    _drop(history, _is(Acked, user="alice", seq=3))
    return history, final


@caught_by("marks_never_fall")
def _regress_a_watermark_in_a_later_sync(history: History, final: FinalState) -> Run:
    _insert(history, Synced(32.0, "bob", "phone", 4, "alice", 3, 3, 2, 3, 2))
    return history, final


@caught_by("marks_never_fall")
def _forget_a_mark_in_the_store(history: History, final: FinalState) -> Run:
    members = [replace(member, delivered=2, read=2) for member in final.members or ()]
    return history, replace(final, members=members)


@caught_by("marks_are_in_order")
def _tell_read_beyond_delivered(history: History, final: FinalState) -> Run:
    _change(history, _is(Synced, link=7), peer_delivered=1)
    return history, final


@caught_by("marks_are_in_order")
def _tell_read_beyond_delivered_in_a_receipt(history: History, final: FinalState) -> Run:
    _insert(history, Claimed(9.0, "alice", "phone", 1, "bob", "alice", 1, 3))
    return history, final


@caught_by("marks_are_in_order")
def _tell_a_mark_beyond_the_last(history: History, final: FinalState) -> Run:
    _insert(history, Claimed(9.0, "alice", "phone", 1, "bob", "alice", 4, 3))
    return history, final


@caught_by("a_refused_ack_changes_nothing")
def _believe_an_ack_beyond_the_last(history: History, final: FinalState) -> Run:
    _insert(history, Claimed(9.0, "alice", "phone", 1, "bob", "alice", BEYOND, 3))
    return history, final


@caught_by("a_refused_ack_changes_nothing")
def _store_an_ack_beyond_the_last(history: History, final: FinalState) -> Run:
    members = list(final.members or ())
    return history, replace(final, members=[members[0], replace(members[1], delivered=BEYOND)])


@caught_by("receipts_converge")
def _never_tell_of_a_delivery(history: History, final: FinalState) -> Run:
    return history, _device(final, 0, peer_delivered={"bob": 2})


@caught_by("receipts_converge")
def _never_tell_of_a_reading(history: History, final: FinalState) -> Run:
    return history, _device(final, 0, peer_read={"bob": 0})


# --- progress after the faults


@caught_by("everything_is_ready_again")
def _stay_unready(history: History, final: FinalState) -> Run:
    with_fault(history, "kill", "worker-1", 10, 10)
    history.calm_s = None
    return history, final


@caught_by("everything_is_ready_again")
def _get_ready_late(history: History, final: FinalState) -> Run:
    with_fault(history, "kill", "worker-1", 10, 10)
    history.calm_s = 95.0
    return history, final


@caught_by("operations_succeed_again")
def _never_answer_an_operation(history: History, final: FinalState) -> Run:
    history.probes.append(Probe(40.0, "history", None))
    return history, final


@caught_by("operations_succeed_again")
def _answer_an_operation_late(history: History, final: FinalState) -> Run:
    history.probes.append(Probe(40.0, "history", 11.0))
    return history, final


@caught_by("messages_arrive_in_time")
def _never_push_a_message(history: History, final: FinalState) -> Run:
    _drop(history, _is(Seen, user="alice", id="b1"))
    return history, final


@caught_by("messages_arrive_in_time")
def _push_a_message_late(history: History, final: FinalState) -> Run:
    _drop(history, _is(Seen, user="alice", id="b1"))
    _insert(history, Seen(58.0, "alice", "phone", 1, "bob", "bob", 2, "b1", 11, TWO))
    return history, final


@caught_by("receipts_arrive_in_time")
def _never_push_a_receipt(history: History, final: FinalState) -> Run:
    _drop(history, _is(Claimed, user="alice", delivered=3))
    return history, final


@caught_by("receipts_arrive_in_time")
def _push_a_read_receipt_as_a_delivery(history: History, final: FinalState) -> Run:
    _change(history, _is(Claimed, user="alice", delivered=3), read=1)
    return history, final


@caught_by("late_devices_complete_after_one_sync")
def _leave_a_message_out_of_a_sync(history: History, final: FinalState) -> Run:
    _change(history, _is(Seen, link=7, seq=2), at_s=71.0)
    return history, final


@caught_by("a_sync_brings_everything")
def _hide_a_conversation_behind_a_token(history: History, final: FinalState) -> Run:
    _drop(history, lambda item: isinstance(item, Synced | Seen) and item.link == 7)
    return history, final


@caught_by("a_sync_brings_every_mark")
def _hide_a_mark_behind_a_token(history: History, final: FinalState) -> Run:
    _drop(history, lambda item: isinstance(item, Claimed) and item.link == 7)
    return history, final


@caught_by("a_push_need_not_be_asked_for")
def _make_a_device_ask_for_what_was_sent_to_it(history: History, final: FinalState) -> Run:
    _change(history, _is(Seen, user="alice", id="b1"), how="history", at_s=9.0)
    return history, final


@caught_by("streams_run_empty")
def _leave_an_entry_in_a_stream(history: History, final: FinalState) -> Run:
    return history, replace(final, streams=[StreamEnd("chat:in:{0}", 1, 0)])


@caught_by("streams_run_empty")
def _leave_an_entry_pending(history: History, final: FinalState) -> Run:
    return history, replace(final, streams=[StreamEnd("chat:sync", 0, 1)])


@caught_by("a_drained_gateway_names_its_reason")
def _drop_connections_in_a_drain(history: History, final: FinalState) -> Run:
    with_fault(history, "terminate", "gateway-1", 10.0, 10.0)
    _insert(history, Closed(12.0, "alice", "phone", 1, 1006, ours=False))
    return history, final


@caught_by("a_drained_gateway_names_its_reason")
def _drop_connections_in_a_drain_while_others_are_broken(history: History, final: FinalState) -> Run:
    _drop_in_a_drain(history)
    for kind, target in (("redis_restart", "redis"), ("kill", "gateway-1"), ("slow_line", "gateway-1:clients")):
        with_fault(history, kind, target, 49.0, 55.0)
    return history, final


def _drop_in_a_drain(history: History, kind: str = "terminate") -> None:
    """Of gateway-2's clients, bob is the only one."""
    with_fault(history, kind, "gateway-2", 50.0, 51.0)
    _insert(history, Closed(52.0, "bob", "phone", 4, 1006, ours=False))


@caught_by("a_drained_gateway_names_its_reason")
def _drop_connections_in_a_rolling_restart(history: History, final: FinalState) -> Run:
    with_fault(history, "rolling", "all", 45.0, 70.0)
    _drop_in_a_drain(history, "rolling")
    return history, final


@caught_by("a_drained_gateway_names_its_reason")
def _serve_a_connection_on_past_a_drain(history: History, final: FinalState) -> Run:
    return _serve_on(history, "terminate"), final


@caught_by("a_drained_gateway_names_its_reason")
def _serve_a_connection_on_in_a_rolling_restart(history: History, final: FinalState) -> Run:
    with_fault(history, "rolling", "all", 45.0, 70.0)
    return _serve_on(history, "rolling"), final


def _serve_on(history: History, kind: str) -> History:
    with_fault(history, kind, "gateway-2", 50.0, 70.0)
    _insert(history, PresenceTold(66.0, "bob", "phone", 4, "wes", online=True))
    return history


@caught_by("a_drained_gateway_names_its_reason")
def _drop_connections_of_a_gateway_whose_name_tells_no_life(history: History, final: FinalState) -> Run:
    _change(history, _is(Welcomed, link=4), gateway="gateway-2")
    _drop_in_a_drain(history)
    return history, final


@caught_by("a_drained_gateway_names_its_reason")
def _drain_until_the_process_is_killed(history: History, final: FinalState) -> Run:
    with_fault(history, "terminate", "gateway-2", 50.0, 70.0)
    _insert(history, Closed(70.0, "bob", "phone", 4, 1006, ours=False))
    return history, final


@caught_by("a_stalled_client_moves_nobody")
def _let_a_stalled_client_slow_the_others(history: History, final: FinalState) -> Run:
    return _with_a_trial(history, slow={(number, True) for number in range(5)}), final


@caught_by("a_stalled_client_moves_nobody")
def _let_a_stalled_client_slow_the_others_in_most_halves(history: History, final: FinalState) -> Run:
    return _with_a_trial(history, slow={(1, True), (3, True), (4, True)}), final


@caught_by("a_stalled_client_moves_nobody")
def _never_answer_who_sends_while_a_client_stalls(history: History, final: FinalState) -> Run:
    history = _with_a_trial(history)
    stalled = [half for half in history.halves if half.stalls]
    begins = [item for item in history.observations if isinstance(item, Sending)]
    lost = {item.id for item in begins for half in stalled if half.begun_s <= item.at_s < half.ended_s}
    _drop(history, lambda item: isinstance(item, Sent) and item.id in lost)
    return history, final


def _with_a_trial(history: History, *, sends: int = 60, slow: Collection[tuple[int, bool]] = ()) -> History:
    """Let bob stall in one half of each of five rounds; `slow` names those in which one send of 20 takes its time."""
    items: list[Observation] = []
    for number in range(5):
        for stalls in (False, True):
            at_s = 10.0 + 3 * number + 1.5 * stalls
            history.halves.append(Half(at_s, at_s + 1.2, stalls=stalls))
            items += [Stalling(at_s + 1.2 * over, "bob", "phone", 2, begins=not over) for over in (0, 1) if stalls]
            for count in range(sends):
                name, begun_s = f"s{number}{stalls}{count}", at_s + count / 60
                took_s = 0.9 if (number, stalls) in slow and count % 20 == 0 else 0.01
                items.append(Sending(begun_s, "alice", "phone", 1, "bob", name, ONE))
                items.append(Sent(begun_s + took_s, "alice", "phone", 1, "bob", name, 4 + count, 13))
    _insert(history, *items)
    return history


# --- presence


@caught_by("online_shows_in_time")
def _show_a_user_online_late(history: History, final: FinalState) -> Run:
    _change(history, _is(PresenceTold, of="carol", at_s=75.4), at_s=76.4)
    _insert(history)
    return history, final


@caught_by("online_shows_in_time")
def _never_answer_a_subscription(history: History, final: FinalState) -> Run:
    _drop(history, _is(PresenceTold, of="alice"))
    return history, final


@caught_by("gone_shows_in_time")
def _never_show_a_user_gone(history: History, final: FinalState) -> Run:
    _drop(history, _is(PresenceTold, of="carol", at_s=80.3))
    return history, final


@caught_by("gone_shows_in_time")
def _show_a_vanished_user_after_the_ttl(history: History, final: FinalState) -> Run:
    _drop(history, _is(PresenceTold, of="carol", at_s=80.3))
    _change(history, _is(Closed, user="carol"), at_s=76.0, ours=False)
    _insert(history, SyncDone(120.0, "wes", "phone", 3, "t"))
    return history, final


def _lose_a_gateway_with_an_earlier_connection(history: History) -> None:
    """Carol's laptop ends at 76 with its gateway; her phone goes at 80 and is shown online on."""
    _drop(history, _is(PresenceTold, of="carol", at_s=80.3))
    laptop = Welcomed(75.5, "carol", "laptop", 9, "gateway-2.ab12", "epoch", 30.0)
    _insert(history, laptop, Closed(76.0, "carol", "laptop", 9, 1006, ours=False))


@caught_by("gone_shows_in_time")
def _keep_the_member_that_a_dead_gateway_left(history: History, final: FinalState) -> Run:
    _lose_a_gateway_with_an_earlier_connection(history)
    _insert(history, SyncDone(120.0, "wes", "phone", 3, "t"))
    return history, final


@caught_by("nobody_flaps")
def _show_a_connected_user_offline(history: History, final: FinalState) -> Run:
    _insert(history, PresenceTold(90.0, "wes", "phone", 3, "alice", online=False))
    return history, final


@caught_by("a_late_leaver_evicts_nobody")
def _let_a_replaced_connection_take_its_user_along(history: History, final: FinalState) -> Run:
    _insert(history, PresenceTold(31.2, "wes", "phone", 3, "bob", online=False))
    return history, final


@caught_by("no_ghosts_remain")
def _leave_a_ghost(history: History, final: FinalState) -> Run:
    return history, replace(final, online={"carol": (True, False)})


def test_a_good_run_breaks_nothing() -> None:
    assert violations(*good_run()) == []


@pytest.mark.parametrize(("name", "_mutant", "mutation"), MUTANTS, ids=[f"{name}-{told}" for name, told, _ in MUTANTS])
def test_a_broken_promise_is_caught_by_its_property(name: str, _mutant: str, mutation: Mutation) -> None:
    found = violations(*mutation(*good_run()))
    assert any(violation.startswith(f"{name}:") for violation in found), found


def test_every_property_is_shown_a_run_that_breaks_it() -> None:
    assert {one.name for one in PROPERTIES} == {name for name, _, _ in MUTANTS}


def test_a_user_may_have_read_further_on_another_device_than_this_one_holds() -> None:
    history, final = good_run()
    _insert(history, Claimed(9.0, "bob", "phone", 2, "bob", "alice", 1, 3))
    assert violations(history, final) == []


def test_order_is_not_asked_of_messages_that_were_sent_again() -> None:
    history, final = _swap_two_sends_of_one_connection(*good_run())
    _insert(history, Sending(8.0, "alice", "phone", 1, "bob", "a1", ONE))
    assert not [found for found in violations(history, final) if found.startswith("sender_order_is_kept")]


def test_an_unknown_outcome_may_be_stored_or_not() -> None:
    history, final = good_run()
    _insert(history, Sending(9.0, "alice", "phone", 1, "bob", "a3", ONE))
    assert violations(history, final) == []


def test_seconds_are_not_counted_while_the_system_is_disturbed() -> None:
    history, final = _show_a_user_online_late(*good_run())
    with_fault(history, "kill", "presence-1", 74.0, 74.0)
    assert violations(history, final) == []


def test_seconds_are_not_counted_while_the_tool_itself_was_late() -> None:
    history, final = _show_a_user_online_late(*good_run())
    history.lags.append((75.5, 0.8))
    assert violations(history, final) == []


def test_a_user_whose_handshake_is_under_way_need_not_be_shown_offline() -> None:
    history, final = good_run()
    _drop(history, _is(PresenceTold, of="carol", at_s=80.3))
    _insert(history, Connecting(79.5, "carol", "laptop", 0, "ws://one"))
    assert violations(history, final) == []


def test_the_member_that_a_dead_gateway_left_may_keep_its_user_online_until_its_time_is_over() -> None:
    history, final = good_run()
    _lose_a_gateway_with_an_earlier_connection(history)
    assert violations(history, final) == []


@pytest.mark.parametrize(("kind", "excused"), [("redis_kill_pubsub", True), ("cut_clients", False)])
def test_a_push_may_be_lost_where_something_loses_pushes(kind: str, excused: bool) -> None:
    history, final = _make_a_device_ask_for_what_was_sent_to_it(*good_run())
    with_fault(history, kind, "any", 2.9, 3.0)
    assert (violations(history, final) == []) is excused


def test_what_nobody_could_read_is_not_judged() -> None:
    history, final = _leave_an_entry_in_a_stream(*good_run())
    assert list(judged(Case(history, replace(final, streams=None)))) == []


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("cut_clients", "all"),
        ("kill", "gateway-2"),
        ("pause_long", "gateway-2"),
        ("partition_gateway_clients", "gateway-2:clients"),
    ],
)
@pytest.mark.parametrize("begin_s", [31.0, 51.5])
def test_who_may_have_cut_a_gateways_connections_takes_its_word(kind: str, target: str, begin_s: float) -> None:
    for mutant in (_drop_connections_in_a_drain_while_others_are_broken, _drain_until_the_process_is_killed):
        history, final = mutant(*good_run())
        with_fault(history, kind, target, begin_s, begin_s + 20)
        assert not _accused_of_a_drain(history, final)


def test_a_client_that_did_not_read_may_miss_why_it_was_sent_away() -> None:
    history, final = _drop_connections_in_a_drain_while_others_are_broken(*good_run())
    _insert(history, Stalling(49.0, "bob", "phone", 4, begins=True))
    assert not _accused_of_a_drain(history, final)


def test_a_connection_of_whose_end_nobody_told_is_not_held_against_a_drain() -> None:
    history, final = _drain_until_the_process_is_killed(*good_run())
    _change(history, _is(Closed, link=4), code=0)
    assert not _accused_of_a_drain(history, final)


def _accused_of_a_drain(history: History, final: FinalState) -> bool:
    return any(one.startswith("a_drained_gateway_names_its_reason") for one in violations(history, final))


@pytest.mark.parametrize(("sends", "asked"), [(59, False), (60, True)])
def test_few_sends_say_nothing_of_a_stalled_client(sends: int, asked: bool) -> None:
    history, final = good_run()
    case = Case(_with_a_trial(history, sends=sends, slow={(number, True) for number in range(5)}), final)
    [stalled] = [one for one in PROPERTIES if one.name == "a_stalled_client_moves_nobody"]
    assert bool(stalled.why_not_asked(case)) is not asked
    assert any(one is stalled for one, _ in judged(case)) is asked


@pytest.mark.parametrize(
    "slow",
    [
        {(1, True), (3, True)},
        {(number, stalls) for number in range(5) for stalls in (False, True)},
        {(1, True), (3, True), (4, True), (0, False), (1, False), (4, False)},
        {(number, False) for number in range(5)},
    ],
    ids=["in two halves", "in all", "in most of both", "only while it reads"],
)
def test_a_machine_that_was_slow_for_a_moment_is_no_effect_of_a_stalled_client(slow: set[tuple[int, bool]]) -> None:
    history, final = good_run()
    found = violations(_with_a_trial(history, slow=slow), final)
    assert not [one for one in found if one.startswith("a_stalled_client")]


def test_every_property_says_in_a_sentence_what_it_promises() -> None:
    assert [one.name for one in PROPERTIES if not one.says.endswith(".")] == []
