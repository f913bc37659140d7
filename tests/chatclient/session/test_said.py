"""What was acknowledged on this connection is not said again, until a sync asks for all of it."""

from chatclient.session import inputs as i

from tests.chatclient.session.playbook import Play, acks, item, message, online, sync, welcome


def test_a_read_mark_is_not_repeated_with_every_later_acknowledgement() -> None:
    play = online(item())
    play.arrive(message(1))
    play.take(1)
    assert acks(play.do(i.MarkedRead("bob", 1)) + play.wait(1)) == [("read", "bob", 1)]
    play.arrive(message(2))
    assert acks(play.take(2) + play.wait(1)) == [("delivered", "bob", 2)]


def test_after_a_sync_both_are_said_again_as_long_as_no_frame_confirmed_them() -> None:
    play = online(item())
    play.arrive(message(1), message(2))
    play.take(2)
    play.do(i.MarkedRead("bob", 1))
    play.wait(1)
    unconfirmed = play.arrive(sync(item(last=2, cursor=0, read=0)))
    assert acks(unconfirmed) == [("delivered", "bob", 2), ("read", "bob", 1)]
    assert acks(play.arrive(sync(item(last=2, cursor=2, read=1)))) == []


def test_a_read_mark_from_before_the_first_sync_never_covers_what_comes_later() -> None:
    play = Play()
    play.start()
    play.arrive(welcome())
    play.do(i.MarkedRead("bob", 1_000))
    play.arrive(sync(item(last=2, cursor=2)), message(3))
    play.take(3)
    play.wait(1)
    assert play.session.marks("bob").read == 2
