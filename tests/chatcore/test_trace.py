"""What a trace is: its context, its way through an entry and a publication, and what is followed."""

from typing import Any

import orjson
import pytest
from chatcore.errors import CodecError
from chatcore.ids import ConversationId, conversation_id
from chatcore.push import Kind, Trace, record, records
from chatcore.stream import ack_item, decode_entry, encode_entry, send_item
from chatcore.trace import TURN_S, Context, Traced, follows, traced_item, traced_of
from hypothesis import given
from hypothesis import strategies as st

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SEND = send_item(1, "alice", "phone", "bob", "c1", "hi", None)
ACK = ack_item(2, "bob", "phone", "alice", 7, 5, None)
OLD_FIELDS = 8
"""What an item had before traces were known."""


def test_a_context_is_read_as_it_was_written() -> None:
    context = Context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert context.encode() == PARENT
    assert Context.decode(PARENT) == context


def test_a_context_of_a_later_version_is_read_by_what_this_one_knows() -> None:
    assert Context.decode(f"01{PARENT[2:]}-more") == Context.decode(PARENT)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        PARENT[:-3],
        PARENT.upper(),
        f"{PARENT}-more",
        PARENT.replace("00-", "ff-"),
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        PARENT.replace("-01", "-00"),
    ],
)
def test_what_is_no_context_or_not_sampled_is_no_trace(bad: str) -> None:
    assert Context.decode(bad) is None


def test_a_reader_that_knows_no_traces_reads_a_traced_entry_like_any_other() -> None:
    plain = encode_entry("g1", 5, [SEND, ACK])
    traced = encode_entry("g1", 5, [traced_item(SEND, PARENT), traced_item(ACK, PARENT)])
    assert decode_entry(traced) == decode_entry(plain)
    # The reader before this one took an item's first eight fields, and so does every later one.
    assert [tuple(item[:OLD_FIELDS]) for item in orjson.loads(traced)[2]] == [SEND, ACK]


def test_a_reader_that_knows_traces_finds_none_in_an_entry_of_a_writer_that_does_not() -> None:
    assert traced_of(encode_entry("g1", 5, [SEND, ACK])) == []


def test_traced_events_are_found_among_others() -> None:
    entry = encode_entry("g1", 5, [SEND, traced_item(SEND, PARENT), ACK, traced_item(ACK, PARENT)])
    assert traced_of(entry) == [Traced(PARENT, "alice", "bob", "c1"), Traced(PARENT, "bob", "alice", None, 7, 5)]


def test_what_only_looks_like_a_trace_is_none() -> None:
    body = send_item(1, "alice", "phone", "bob", "00-c1", f',"{PARENT}', "00-ref")
    assert traced_of(encode_entry("g1", 5, [body])) == []


@given(st.binary(max_size=40))
def test_a_damaged_entry_has_no_traces(data: bytes) -> None:
    assert traced_of(data + b',"00-') == []


def test_a_trace_record_is_read_as_it_was_written() -> None:
    publication = record(Kind.FRAME, 3, b"{}") + record(Kind.TRACE, 3, Trace(PARENT, "message").encode())
    (_, _, frame), (kind, number, payload) = records(publication)
    assert (frame, kind, number, Trace.decode(payload)) == (b"{}", Kind.TRACE, 3, Trace(PARENT, "message"))
    with pytest.raises(CodecError):
        Trace.decode(b"\xff")


conversations = st.binary(min_size=16, max_size=16).map(ConversationId)


@given(conversations, st.floats(0, 4e9))
def test_the_whole_share_follows_everything_and_no_share_nothing(conversation: ConversationId, now_s: float) -> None:
    assert follows(conversation, now_s, 1.0)
    assert not follows(conversation, now_s, 0.0)


@given(conversations, st.integers(0, 6_000_000), st.floats(0, TURN_S - 1), st.floats(0, 1))
def test_a_conversation_is_followed_for_a_turn_or_not_at_all(
    conversation: ConversationId, turn: int, within_s: float, ratio: float
) -> None:
    began_s = turn * TURN_S
    assert follows(conversation, began_s + within_s, ratio) == follows(conversation, began_s, ratio)


def test_every_conversation_has_its_turns_and_no_more_than_its_share() -> None:
    def turns_of(pair: Any) -> int:
        conversation = conversation_id(*pair)
        return sum(follows(conversation, turn * TURN_S, 0.1) for turn in range(1_000))

    assert all(90 <= turns_of(pair) <= 110 for pair in (("alice", "bob"), ("alice", "carol"), ("dave", "erin")))


def test_at_any_moment_about_the_share_of_all_conversations_is_followed() -> None:
    followed = sum(follows(conversation_id(f"u{i}", f"u{i + 1}"), 1e9, 0.2) for i in range(5_000))
    assert 850 < followed < 1_150
