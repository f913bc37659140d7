"""Rules 1, 2 and 5 of PROTOCOL section 6, as playbooks."""

from chatclient.events import Receipt
from chatclient.session import Snapshot
from chatclient.session import effects as e
from chatclient.session import inputs as i
from chatclient.session.limits import HELD_MAX
from chatclient.session.records import PeerRecord, SyncRecord

from tests.chatclient.session.playbook import (
    Play,
    acks,
    frames,
    item,
    message,
    online,
    send_of,
    sent,
    seqs,
    sync,
    told,
    welcome,
)


def test_messages_are_given_once_and_in_order_however_they_come() -> None:
    play = online(item())
    assert seqs(play.arrive(message(2), message(3), message(2))) == []
    assert seqs(play.arrive(message(1))) == [1, 2, 3]
    assert seqs(play.arrive(message(1), message(2), message(3))) == []


def test_a_conversation_starts_at_the_cursor_that_the_sync_names() -> None:
    play = online(item(last=7, cursor=7))
    assert seqs(play.arrive(message(7), message(8))) == [8]


def test_a_conversation_that_no_finished_sync_named_starts_at_0() -> None:
    play = online()
    assert seqs(play.arrive(message(1, "carol", sender="carol"))) == [1]


def test_a_live_message_waits_until_its_conversation_is_named() -> None:
    play = Play()
    play.start()
    assert seqs(play.arrive(welcome(), message(8))) == []
    assert seqs(play.arrive(sync(item(last=8, cursor=6), messages=(message(7),), done=False))) == [7, 8]


def test_a_live_message_waits_until_a_sync_that_does_not_name_its_conversation_ends() -> None:
    play = Play()
    play.start()
    assert seqs(play.arrive(welcome(), message(1))) == []
    assert seqs(play.arrive(sync())) == [1]


def test_only_what_the_application_took_is_acknowledged() -> None:
    play = online(item())
    assert acks(play.arrive(message(1), message(2)) + play.wait(5)) == []
    assert acks(play.take(1)) == [("delivered", "bob", 1)]


def test_a_record_is_kept_before_the_acknowledgement_that_relies_on_it() -> None:
    play = online(item())
    play.arrive(message(1))
    kinds = [type(effect) for effect in play.take(1)]
    assert kinds == [e.Keep, e.Write]


def test_acknowledgements_within_50_ms_become_one() -> None:
    play = online(item())
    play.arrive(*(message(seq) for seq in range(1, 5)))
    assert acks(play.take(1)) == [("delivered", "bob", 1)]
    assert acks(play.take(2) + play.take(3) + play.take(4)) == []
    assert acks(play.wait(0.051)) == [("delivered", "bob", 4)]


def test_ones_own_messages_are_acknowledged_within_a_second() -> None:
    play = online(item())
    play.send("c1")
    assert acks(play.arrive(sent("c1", 1)) + play.wait(0.9)) == []
    assert acks(play.wait(0.2)) == [("delivered", "bob", 1)]


def test_a_message_of_ones_own_that_comes_before_its_sent_is_no_news() -> None:
    play = online(item())
    play.send("c1")
    assert seqs(play.arrive(message(1, sender="alice", ident="c1"), sent("c1", 1))) == []
    assert play.session.unanswered == 0


def test_a_message_of_another_device_of_ones_own_is_news() -> None:
    play = online(item())
    assert seqs(play.arrive(message(1, sender="alice"))) == [1]


def test_a_receipt_ahead_of_its_message_is_held_back() -> None:
    play = online(item())
    receipt = {"type": "receipt", "peer": "bob", "user": "bob", "delivered": 1, "read": 1}
    play.send("c1")
    assert told(play.arrive(receipt)) == []
    assert told(play.arrive(sent("c1", 1))) == [Receipt("bob", "bob", 1, 1)]


def test_marks_never_go_back() -> None:
    play = online(item(last=9, cursor=9, delivered=5, seen=4))
    late = {"type": "receipt", "peer": "bob", "user": "bob", "delivered": 3, "read": 2}
    assert told(play.arrive(late)) == []
    assert (play.session.marks("bob").peer_delivered, play.session.marks("bob").peer_read) == (5, 4)


def test_a_hole_that_stays_2_s_after_a_sync_is_asked_for_until_it_closes() -> None:
    play = online(item())
    play.arrive(message(4))
    assert frames(play.wait(1.9)) == []
    (ask,) = frames(play.wait(0.2))
    assert (ask["type"], ask["peer"], ask["after"]) == ("history", "bob", 0)
    page = {"type": "history", "ref": ask["ref"], "peer": "bob", "messages": [message(1), message(2)], "more": True}
    answered = play.arrive(page)
    assert seqs(answered) == [1, 2]
    (again,) = frames(answered)
    assert again["after"] == 2
    assert seqs(play.arrive(page | {"ref": again["ref"], "messages": [message(3)], "more": False})) == [3, 4]
    assert frames(play.wait(30)) == []


def test_a_hole_that_closes_by_itself_is_not_asked_for() -> None:
    play = online(item())
    play.arrive(message(2))
    play.wait(1)
    play.arrive(message(1))
    assert frames(play.wait(30)) == []


def test_a_hole_is_asked_for_again_when_the_answer_brings_nothing() -> None:
    play = online(item())
    play.arrive(message(2))
    (ask,) = frames(play.wait(2.1))
    play.arrive({"type": "history", "ref": ask["ref"], "peer": "bob", "messages": [], "more": False})
    assert [frame["type"] for frame in frames(play.wait(2.1))] == ["history"]


def test_no_hole_is_asked_for_before_the_sync_is_finished() -> None:
    play = Play()
    play.start()
    play.arrive(welcome(), sync(item(last=3), messages=(message(2),), done=False))
    assert frames(play.wait(20)) == []


def test_what_waits_ahead_of_a_hole_is_bounded_and_comes_from_history() -> None:
    play = online(item())
    play.arrive(*(message(seq) for seq in range(2, HELD_MAX + 10)))
    assert seqs(play.arrive(message(1))) == list(range(1, HELD_MAX + 2))
    assert frames(play.wait(2.1))[0]["after"] == HELD_MAX + 1


def test_after_every_sync_what_no_frame_confirmed_is_acknowledged_again() -> None:
    play = online(item(), item("carol"))
    play.arrive(message(1))
    play.take(1)
    play.do(i.MarkedRead("bob", 1))
    play.wait(1)
    # Named with less than was acknowledged, then not named at all, then confirmed.
    assert acks(play.arrive(sync(item(last=1)))) == [("read", "bob", 1)]
    assert acks(play.arrive(sync())) == [("read", "bob", 1)]
    assert acks(play.arrive(sync(item(last=1, cursor=1, read=1)))) == []


def test_what_was_confirmed_is_known_after_a_restart() -> None:
    record = PeerRecord("bob", cursor=5, read=4, confirmed_cursor=5, confirmed_read=3)
    play = Play(Snapshot(peers=(record,), sync=SyncRecord("e1", "t0")))
    assert play.start() == [e.Dial("t0")]
    assert acks(play.arrive(welcome(), sync())) == [("read", "bob", 4)]


def test_a_read_mark_is_acknowledged_only_as_far_as_this_device_holds() -> None:
    play = online(item())
    play.arrive(message(1), message(2))
    play.do(i.MarkedRead("bob", 2))
    assert acks(play.wait(1)) == []
    assert acks(play.take(1)) == [("read", "bob", 1)]
    assert acks(play.take(2) + play.wait(1)) == [("read", "bob", 2)]


def test_nobody_reads_the_future() -> None:
    play = online(item())
    play.arrive(message(1))
    play.take(1)
    play.do(i.MarkedRead("bob", 1_000))
    assert play.session.marks("bob").read == 1


def test_reading_on_another_device_is_told() -> None:
    play = online(item(last=3, cursor=3))
    own = {"type": "receipt", "peer": "bob", "user": "alice", "delivered": 3, "read": 2}
    assert told(play.arrive(own)) == [Receipt("bob", "alice", 3, 2)]
    assert acks(play.wait(2)) == []


def test_a_new_epoch_drops_cursors_and_keeps_the_outbox() -> None:
    play = online(item())
    play.arrive(message(1))
    play.take(1)
    play.send("c1")
    play.lose()
    play.wait(1)
    again = play.arrive(welcome("e2"), sync())
    assert send_of("c1") in frames(again)
    assert seqs(play.arrive(message(1))) == [1]


def test_the_reading_of_a_stranger_leaves_its_starting_point_open() -> None:
    play = Play()
    play.start()
    assert play.do(i.MarkedRead("bob", 3)) == []
    play.arrive(welcome(), sync(item(last=5, cursor=5)))
    assert play.session.marks("bob").cursor == 5
