"""What a terminal chat shows: ticks, order, scrolling, the status line."""

import pytest
from chatclient import (
    Connected,
    Disconnected,
    EpochChanged,
    Event,
    HistoryPage,
    Marks,
    Message,
    Presence,
    Receipt,
    SendFailed,
    Sent,
    SyncDone,
    Typing,
)
from chatctl import chat_view as view_of
from chatctl.chat_drawing import draw_lines, draw_status, draw_typing, row_of_focus
from chatctl.chat_view import Tick, View


def message(seq: int, *, sender: str = "bob", peer: str = "bob", body: str = "", state: str | None = None) -> Message:
    return Message(peer, sender, seq, f"{sender}-{seq}", 1_000 * seq, body or f"body {seq}", state=state)


def text(view: View) -> str:
    return "".join(fragment[1] for fragment in draw_lines(view))


def start(*events: Event) -> View:
    view = view_of.begin("alice", "bob", Marks())
    for event in events:
        view = view_of.happened(view, event, 0.0)
    return view


def ticks(view: View) -> list[Tick | None]:
    return [view_of.tick(view, line) for line in view.lines]


def test_a_message_goes_from_waiting_over_sent_and_delivered_to_read() -> None:
    view = view_of.wrote(start(), "c1", "hi")
    assert ticks(view) == [Tick.WAITING]
    view = view_of.committed(view, Sent(seq=1, ts=1, id="c1", peer="bob"))
    assert ticks(view) == [Tick.SENT]
    view = view_of.happened(view, Receipt("bob", "bob", 1, 0), 0.0)
    assert ticks(view) == [Tick.DELIVERED]
    view = view_of.happened(view, Receipt("bob", "bob", 1, 1), 0.0)
    assert ticks(view) == [Tick.READ]


@pytest.mark.parametrize(
    ("marks", "style", "symbol"),
    [
        (Marks(), "class:sent", "✓"),
        (Marks(peer_delivered=1), "class:delivered", "✓✓"),
        (Marks(peer_delivered=1, peer_read=1), "class:read", "✓✓"),
    ],
)
def test_one_tick_is_sent_two_are_delivered_and_coloured_ones_are_read(marks: Marks, style: str, symbol: str) -> None:
    view = view_of.happened(view_of.begin("alice", "bob", marks), message(1, sender="alice"), 0.0)
    assert draw_lines(view)[-1] == (style, f"  {symbol}")


def test_what_waits_has_a_clock_and_what_was_refused_says_why() -> None:
    view = view_of.wrote(start(), "c1", "hi")
    assert "🕓" in text(view)
    assert "✗ too_large" in text(view_of.refused(view, "c1", "too_large"))


def test_the_peers_messages_have_no_tick() -> None:
    assert ticks(start(message(1))) == [None]


def test_what_an_earlier_run_left_waiting_is_shown_and_settled() -> None:
    view = view_of.begin("alice", "bob", Marks(), [("c1", "one"), ("c2", "two")])
    view = view_of.happened(view, Sent(seq=4, ts=1, id="c1", peer="bob"), 0.0)
    view = view_of.happened(view, SendFailed("c2", "bob", "id_conflict"), 0.0)
    assert ticks(view) == [Tick.SENT, Tick.REFUSED]


def test_lines_stand_in_the_order_of_the_conversation_and_once() -> None:
    view = view_of.wrote(start(message(2)), "c1", "mine")
    view = view_of.happened(view, message(3), 0.0)
    view = view_of.paged(view, HistoryPage("bob", (message(1), message(2)), more=False))
    view = view_of.committed(view, Sent(seq=4, ts=1, id="c1", peer="bob"))
    assert [line.seq for line in view.lines] == [1, 2, 3, 4]


def test_a_late_receipt_takes_no_tick_away() -> None:
    view = start(message(1, sender="alice"), Receipt("bob", "bob", 1, 1), Receipt("bob", "bob", 1, 0))
    assert ticks(view) == [Tick.READ]


def test_the_states_of_a_page_of_history_become_ticks() -> None:
    page = (message(1, sender="alice", state="read"), message(2, sender="alice", state="delivered"))
    assert ticks(view_of.paged(start(), HistoryPage("bob", page, more=True))) == [Tick.READ, Tick.DELIVERED]


def test_other_conversations_change_nothing() -> None:
    other = message(1, sender="carol", peer="carol")
    assert start(other, Receipt("carol", "carol", 9, 9), Typing("carol"), Presence("carol", True, None)) == start()


def test_ones_own_reading_on_another_device_is_not_the_peers() -> None:
    assert ticks(start(message(1, sender="alice"), Receipt("bob", "alice", 1, 1))) == [Tick.SENT]


def test_a_screen_that_is_scrolled_back_stays_where_it_is() -> None:
    view = view_of.scrolled(start(*(message(seq) for seq in range(1, 21))), 10)
    shown = view.lines[len(view.lines) - view.back - 1]
    view = view_of.happened(view, message(21), 0.0)
    view = view_of.paged(view, HistoryPage("bob", (), more=False))
    assert view.lines[len(view.lines) - view.back - 1] == shown
    assert "11 below" in draw_typing(view, 0.0)[0][1]


def test_scrolling_ends_at_both_ends() -> None:
    view = start(message(1), message(2))
    assert view_of.scrolled(view, 100).back == 1
    assert view_of.scrolled(view, -100).back == 0
    assert view_of.scrolled(start(), 10).back == 0


def test_sending_returns_to_the_end() -> None:
    view = view_of.scrolled(start(message(1), message(2)), 1)
    assert view_of.wrote(view, "c1", "hi").back == 0


def test_the_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_of, "LINES_MAX", 3)
    view = start(*(message(seq) for seq in range(1, 6)))
    assert [line.seq for line in view.lines] == [3, 4, 5]
    assert not view_of.paged(view, HistoryPage("bob", (message(2),), more=True)).older


def test_a_restored_database_empties_the_screen_but_for_what_waits() -> None:
    view = view_of.wrote(start(message(1)), "c1", "hi")
    view = view_of.happened(view, EpochChanged(), 0.0)
    assert [line.id for line in view.lines] == ["c1"]


def test_typing_is_shown_for_5_s_and_ends_with_the_message() -> None:
    view = start(Typing("bob"))
    assert "typing" in draw_typing(view, 4.9)[0][1]
    assert draw_typing(view, 5.0) == [("", "")]
    assert draw_typing(view_of.happened(view, message(1), 1.0), 1.0) == [("", "")]


def test_the_status_line_says_who_is_there_and_how_the_connection_is() -> None:
    def status(*events: Event) -> str:
        return draw_status(start(*events))[0][1]

    assert "[connecting]" in status()
    assert "[catching up]" in status(Connected("alice", "d", "gw"))
    assert "online" in status(Presence("bob", True, None), SyncDone())
    assert "last seen" in status(Presence("bob", False, 1_000))
    assert "never seen" in status(Presence("bob", False, None))
    gone = status(Presence("bob", True, None), Disconnected("closed with 1012", 3.0))
    assert "reconnecting (closed with 1012; again in 3 s)" in gone
    assert "online" not in gone


def test_the_focus_counts_the_rows_of_long_messages() -> None:
    view = start(message(1, body="one\ntwo"), message(2))
    assert row_of_focus(view) == 2
    assert row_of_focus(view_of.scrolled(view, 1)) == 1
    assert row_of_focus(start()) == 0
