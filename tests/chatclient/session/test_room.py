"""What a session does with more messages than the application takes: it holds few, and history has the rest."""

from tests.chatclient.session.playbook import Play, acks, frames, item, message, seqs, sync, welcome


def cramped(room: int) -> Play:
    play = Play(untaken_max=room)
    play.start()
    play.arrive(welcome(), sync(item()))
    return play


def history(play: Play, ref: str, *numbers: int) -> list[int]:
    page = {"type": "history", "ref": ref, "peer": "bob", "more": False}
    return seqs(play.arrive(page | {"messages": [message(number) for number in numbers]}))


def test_a_message_for_which_there_is_no_room_is_neither_told_nor_acknowledged() -> None:
    play = cramped(2)
    assert seqs(play.arrive(message(1), message(2), message(3))) == [1, 2]
    out = play.take(1) + play.take(2) + play.wait(1)
    assert acks(out)[-1] == ("delivered", "bob", 2)


def test_what_found_no_room_is_asked_for_once_there_is_some() -> None:
    play = cramped(2)
    play.arrive(message(1), message(2), message(3), message(4))
    assert not [frame for frame in frames(play.wait(30)) if frame["type"] == "history"]
    out = play.take(1) + play.take(2)
    asked = [frame for frame in frames(out) if frame["type"] == "history"]
    assert [(frame["peer"], frame["after"]) for frame in asked] == [("bob", 2)]
    assert history(play, asked[0]["ref"], 3, 4) == [3, 4]


def test_a_message_of_ones_own_needs_no_room() -> None:
    play = cramped(1)
    play.arrive(message(1), message(2))
    play.arrive({"type": "sent", "id": "c1", "peer": "carol", "seq": 1, "ts": 1})
    assert play.session.marks("carol").cursor == 1


def test_a_page_of_a_sync_that_finds_no_room_is_left_to_history() -> None:
    play = Play(untaken_max=1)
    play.start()
    page = sync(item(last=3), messages=(message(1), message(2), message(3)))
    assert seqs(play.arrive(welcome(), page)) == [1]
    play.take(1)
    asked = [frame for frame in frames(play.wait(2)) if frame["type"] == "history"]
    assert [frame["after"] for frame in asked] == [1]
