"""What a correct device owes, as the outside judge reads PROTOCOL section 6."""

from chatctl.verify.device_state import ANSWER_S, DeviceState, Outgoing, Peer


def _state(*sends: tuple[str, str]) -> DeviceState:
    return DeviceState(outbox={client_id: Outgoing(peer, "x") for client_id, peer in sends})


def test_a_cursor_moves_over_what_is_contiguous_only() -> None:
    peer = Peer()
    assert peer.hold(1, "a")
    assert not peer.hold(3, "c")
    assert peer.cursor == 1
    assert peer.hold(2, "b")
    assert (peer.cursor, peer.ahead) == (3, {})


def test_a_sync_never_moves_a_cursor_back() -> None:
    peer = Peer()
    peer.begin(0)
    peer.hold(1, "a")
    peer.begin(0)
    assert (peer.cursor, peer.start) == (1, 0)


def test_new_sends_go_out_in_order_within_the_window() -> None:
    state = _state(("a", "bob"), ("b", "bob"), ("c", "eve"))
    assert state.due_sends(0, 2) == ["a", "b"]
    state.mark_transmitted("a", 0)
    assert state.due_sends(0, 2) == ["b"]


def test_a_refused_send_holds_the_later_ones_to_its_peer_only() -> None:
    state = _state(("a", "bob"), ("b", "bob"), ("c", "eve"))
    state.mark_transmitted("a", 0)
    state.refused("a", retry_at=5)
    assert state.due_sends(1, 9) == ["c"]
    assert state.due_sends(5, 9) == ["a", "c"]
    state.mark_transmitted("a", 5)
    assert state.due_sends(6, 9) == ["c"]
    state.answered("a")
    assert state.due_sends(6, 9) == ["b", "c"]


def test_an_unanswered_send_is_due_again_after_ten_seconds_and_after_a_reconnection() -> None:
    state = _state(("a", "bob"))
    state.mark_transmitted("a", 0)
    assert state.due_sends(ANSWER_S - 1, 9) == []
    assert state.due_sends(ANSWER_S, 9) == ["a"]
    state.forget_connection()
    assert state.due_sends(1, 9) == ["a"]


def test_a_mark_that_no_server_frame_confirmed_is_owed_again() -> None:
    peer = Peer(cursor=3, own_read=2, acked=(3, 2), confirmed_cursor=3, confirmed_read=1)
    assert not peer.owes_ack()
    peer.forget_connection()
    assert peer.owes_ack()


def test_a_new_epoch_drops_all_but_the_outbox() -> None:
    state = _state(("a", "bob"))
    state.peer("bob").hold(1, "x")
    state.forget_database("one")
    state.since = "token"
    state.forget_database("two")
    assert not state.peers
    assert not state.since
    assert list(state.outbox) == ["a"]
