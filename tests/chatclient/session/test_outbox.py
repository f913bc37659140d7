"""Rule 3 of PROTOCOL section 6 and the server's limits, as playbooks."""

from chatclient.events import Sent
from chatclient.session import Snapshot
from chatclient.session import effects as e
from chatclient.session import inputs as i
from chatclient.session.records import OutboxAdded, OutboxRemoved

from tests.chatclient.session.playbook import Play, frames, ids, item, online, refusal, sent, sync, welcome


def test_a_send_is_kept_before_it_is_written() -> None:
    kinds = [type(effect) for effect in online(item()).send("c1")]
    assert kinds == [e.Keep, e.Write]


def test_a_send_may_go_from_welcome_on() -> None:
    play = Play()
    play.start()
    assert ids(play.send("c1")) == []
    assert ids(play.arrive(welcome())) == ["c1"]


def test_a_send_without_an_answer_goes_again_after_10_s() -> None:
    play = online(item())
    play.send("c1")
    assert ids(play.wait(9.9)) == []
    assert ids(play.wait(0.2)) == ["c1"]
    assert ids(play.wait(10)) == ["c1"]


def test_everything_without_an_answer_goes_again_in_order_on_the_next_connection() -> None:
    play = online(item())
    for ident in ("c1", "c2", "c3"):
        play.send(ident)
    play.arrive(sent("c2", 1))
    play.lose()
    play.wait(1)
    assert ids(play.arrive(welcome())) == ["c1", "c3"]


def test_an_answer_settles_once_and_for_all() -> None:
    play = online(item())
    play.send("c1")
    first = play.arrive(sent("c1", 1))
    assert e.Settle(Sent(seq=1, ts=1, id="c1", peer="bob")) in first
    assert e.Keep(OutboxRemoved(id="c1", to="bob")) in first
    assert not [effect for effect in play.arrive(sent("c1", 1)) if isinstance(effect, e.Settle)]
    assert ids(play.wait(30)) == []


def test_a_refused_send_goes_again_when_its_time_has_come() -> None:
    play = online(item())
    play.send("c1")
    play.arrive(refusal("c1", retry_after_ms=3_000))
    assert ids(play.wait(2.9)) == []
    assert ids(play.wait(0.2)) == ["c1"]


def test_after_a_refusal_later_sends_to_that_peer_wait_for_its_answer_and_others_do_not() -> None:
    play = online(item(), item("carol"))
    play.send("c1")
    play.arrive(refusal("c1", retry_after_ms=3_000))
    assert ids(play.send("c2")) == []
    assert ids(play.send("d1", "carol")) == ["d1"]
    assert ids(play.wait(3.1)) == ["c1"]
    assert ids(play.arrive(sent("c1", 1))) == ["c2"]


def test_a_refusal_keeps_the_order_over_a_reconnection() -> None:
    play = online(item())
    play.send("c1")
    play.arrive(refusal("c1", retry_after_ms=5_000))
    play.send("c2")
    play.lose()
    play.wait(1)
    assert ids(play.arrive(welcome(), sync(item()))) == ["c1"]
    assert ids(play.arrive(sent("c1", 1))) == ["c2"]


def test_a_final_error_ends_a_send_and_frees_the_ones_behind_it() -> None:
    play = online(item())
    play.send("c1")
    play.arrive(refusal("c1", retry_after_ms=60_000))
    play.send("c2")
    ended = play.arrive(refusal("c1", "id_conflict"))
    assert e.Reject("c1", "bob", "id_conflict", "") in ended
    assert ids(ended) == ["c2"]


def test_no_more_sends_are_in_flight_than_the_server_allows() -> None:
    play = online(item(), max_in_flight=2)
    assert [ident for n in range(4) for ident in ids(play.send(f"c{n}"))] == ["c0", "c1"]
    assert ids(play.arrive(sent("c0", 1))) == ["c2"]


def test_a_full_window_does_not_keep_what_was_lost_from_going_again() -> None:
    play = online(item(), max_in_flight=1)
    play.send("c1")
    play.send("c2")
    assert ids(play.wait(10.1)) == ["c1"]


def test_sends_keep_the_servers_pace() -> None:
    play = online(item(), sends_per_s=10, sends_burst=3)
    assert len([ident for n in range(8) for ident in ids(play.send(f"c{n}"))]) == 3
    assert len(ids(play.wait(0.21))) == 2
    assert ids(play.wait(0.4)) == ["c5", "c6", "c7"]


def test_the_outbox_of_an_earlier_run_goes_out_in_its_order() -> None:
    waiting = tuple(OutboxAdded(f"c{n}", "bob", "hi") for n in range(3))
    play = Play(Snapshot(outbox=waiting))
    play.start()
    assert ids(play.arrive(welcome())) == ["c0", "c1", "c2"]


def test_a_request_is_made_again_after_10_s_and_on_the_next_connection() -> None:
    play = online(item())
    ask = i.Asked("q-1", {"type": "history", "peer": "bob", "limit": 5})
    assert [frame["ref"] for frame in frames(play.do(ask))] == ["q-1"]
    assert [frame["ref"] for frame in frames(play.wait(10.1))] == ["q-1"]
    play.lose()
    play.wait(1)
    assert [frame["ref"] for frame in frames(play.arrive(welcome()))] == ["q-1"]
    answer = {"type": "history", "ref": "q-1", "peer": "bob", "messages": [], "more": False}
    assert play.arrive(answer) == [e.Answer("q-1", answer)]
    assert play.arrive(answer) == []
    assert frames(play.wait(30)) == []


def test_a_refused_request_is_made_again_when_its_time_has_come() -> None:
    play = online(item())
    play.do(i.Asked("q-1", {"type": "conversations", "limit": 5}))
    play.arrive(refusal("q-1", retry_after_ms=2_000))
    assert len(frames(play.wait(1.9))) == 0
    assert len(frames(play.wait(0.2))) == 1
    assert play.arrive(refusal("q-1", "invalid_frame")) == [e.Reject("q-1", None, "invalid_frame", "")]


def test_a_request_that_nobody_waits_for_is_not_made_again() -> None:
    play = online(item())
    play.do(i.Asked("q-1", {"type": "conversations", "limit": 5}))
    play.do(i.Dropped("q-1"))
    assert frames(play.wait(30)) == []


def test_one_id_is_never_on_its_way_to_two_peers_for_an_error_could_mean_either() -> None:
    play = online(item())
    assert ids(play.send("c1", "bob")) == ["c1"]
    assert ids(play.send("c1", "carol") + play.send("c2", "carol") + play.send("c2", "dave")) == ["c2"]
    after = play.arrive(refusal("c1", "id_conflict"))
    assert [(effect.ref, effect.peer) for effect in after if isinstance(effect, e.Reject)] == [("c1", "bob")]
    assert [(frame["id"], frame["to"]) for frame in frames(after)] == [("c1", "carol")]
    assert [(frame["id"], frame["to"]) for frame in frames(play.arrive(sent("c2", 1, "dave")))] == [("c2", "carol")]
    after = play.arrive(refusal("c1", "too_large"))
    assert [(effect.ref, effect.peer) for effect in after if isinstance(effect, e.Reject)] == [("c1", "carol")]


def test_one_id_to_two_peers_is_kept_apart_over_a_reconnection_too() -> None:
    play = online(item())
    play.send("c1", "bob")
    play.send("c1", "carol")
    play.lose()
    play.wait(1)
    assert [frame["to"] for frame in frames(play.arrive(welcome()))] == ["bob"]
    assert [frame["to"] for frame in frames(play.arrive(sent("c1", 1)))] == ["carol"]
