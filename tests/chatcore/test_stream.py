"""The stream codec: what is written is read, and what is damaged is a CodecError."""

from typing import Any

import orjson
import pytest
from chatcore.errors import CodecError
from chatcore.ids import ClientId, ConnectionNumber, DeviceId, GatewayId, Seq, UserId
from chatcore.stream import (
    AckEvent,
    Connected,
    ConversationsRequest,
    Disconnected,
    Entry,
    Heartbeats,
    HistoryRequest,
    Origin,
    SendEvent,
    Subscribed,
    SyncRequest,
    TypingSeen,
    Unsubscribed,
    ack_item,
    decode_entry,
    decode_presence,
    decode_requests,
    encode_entry,
    encode_presence,
    encode_requests,
    send_item,
)
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
maybe_texts = st.none() | texts
numbers = st.integers(0, 2**63 - 1)
maybe_numbers = st.none() | numbers
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=25,
)

gateways, users, devices, peers = (texts.map(kind) for kind in (GatewayId, UserId, DeviceId, UserId))
connections = numbers.map(ConnectionNumber)
requests = (
    st.builds(SyncRequest, gateways, connections, users, devices, numbers, st.booleans(), texts, texts, numbers)
    | st.builds(HistoryRequest, gateways, connections, users, maybe_texts, peers, maybe_numbers, maybe_numbers, numbers)
    | st.builds(ConversationsRequest, gateways, connections, users, devices, maybe_texts, numbers, maybe_texts)
)
presence_events = (
    st.builds(Connected, users, texts)
    | st.builds(Disconnected, users, texts)
    | st.builds(Heartbeats, st.lists(st.tuples(users, texts).map(list), max_size=5), numbers)
    | st.builds(Subscribed, users, gateways, connections, maybe_texts)
    | st.builds(Unsubscribed, users, gateways)
    | st.builds(TypingSeen, users, peers)
)
sends = st.builds(
    SendEvent,
    st.builds(Origin, st.just(GatewayId("g")), connections, users, devices),
    peers,
    texts.map(ClientId),
    texts,
    maybe_texts,
)
acks = st.builds(
    AckEvent,
    st.builds(Origin, st.just(GatewayId("g")), connections, users, devices),
    peers,
    numbers.map(Seq),
    numbers.map(Seq),
    maybe_texts,
)


def item_of(event: SendEvent | AckEvent) -> Any:
    origin = event.origin
    if isinstance(event, SendEvent):
        return send_item(
            origin.connection, origin.user, origin.device, event.peer, event.client_id, event.body, event.ref
        )
    return ack_item(origin.connection, origin.user, origin.device, event.peer, event.delivered, event.read, event.ref)


@given(numbers, st.lists(sends | acks, max_size=6))
def test_an_entry_of_events_is_read_as_it_was_written(accepted_ms: int, events: list[SendEvent | AckEvent]) -> None:
    raw = encode_entry("g", accepted_ms, [item_of(event) for event in events])
    assert decode_entry(raw) == Entry(GatewayId("g"), accepted_ms, tuple(events))


@given(st.lists(requests, max_size=5))
def test_requests_are_read_as_they_were_written(written: list[Any]) -> None:
    assert decode_requests(encode_requests(written)) == written


@given(st.lists(presence_events, max_size=5))
def test_presence_events_are_read_as_they_were_written(written: list[Any]) -> None:
    assert decode_presence(encode_presence(written)) == written


@given(st.binary(max_size=60) | json_values.map(orjson.dumps))
def test_what_no_codec_wrote_is_a_codec_error_or_empty_of_harm(raw: bytes) -> None:
    for decode in (decode_entry, decode_requests, decode_presence):
        try:
            decode(raw)
        except CodecError:
            continue


@given(st.lists(presence_events, min_size=1, max_size=3), st.data())
def test_a_presence_entry_with_a_field_of_another_type_is_a_codec_error(
    written: list[Any], data: st.DataObject
) -> None:
    items = orjson.loads(encode_presence(written))
    item = items[data.draw(st.integers(0, len(items) - 1))]
    item[data.draw(st.integers(0, len(item) - 1))] = data.draw(st.sampled_from([True, 1.5, {}, [1], [["a"]]]))
    with pytest.raises(CodecError):
        decode_presence(orjson.dumps(items))


@pytest.mark.parametrize("cut", range(1, 8))
def test_an_event_that_lacks_a_field_is_a_codec_error(cut: int) -> None:
    item = list(send_item(1, "alice", "phone", "bob", "c1", "hi", None))[:cut]
    with pytest.raises(CodecError):
        decode_entry(orjson.dumps(["g", 1, [item]]))


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("item", [send_item(1, "a", "d", "b", "c", "x", None), ack_item(1, "a", "d", "b", 1, 1, None)])
def test_an_event_with_a_field_of_another_type_is_a_codec_error(item: Any, place: int) -> None:
    damaged = list(item)
    damaged[place] = [1]
    with pytest.raises(CodecError):
        decode_entry(orjson.dumps(["g", 1, [damaged]]))


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    item = [*send_item(1, "alice", "phone", "bob", "c1", "hi", None), "new"]
    [event] = decode_entry(orjson.dumps(["g", 1, [item], "new"])).events
    assert isinstance(event, SendEvent)
    assert event.body == "hi"
    assert decode_presence(b'[[5,"alice","bob","new"]]') == [TypingSeen(UserId("alice"), UserId("bob"))]


def test_a_field_that_an_earlier_version_did_not_write_has_its_default() -> None:
    assert decode_presence(b'[[2,[["alice","m"]]]]') == [Heartbeats([["alice", "m"]])]  # type: ignore[list-item]  # as JSON


def test_the_numbers_of_the_records_never_change() -> None:
    """Entries of the version before lie in the streams while a new one starts."""
    events = [
        Connected(UserId("a"), "m"),
        Disconnected(UserId("a"), "m"),
        Heartbeats([(UserId("a"), "m")]),
        Subscribed(UserId("a"), GatewayId("g"), ConnectionNumber(1), None),
        Unsubscribed(UserId("a"), GatewayId("g")),
        TypingSeen(UserId("a"), UserId("b")),
    ]
    assert [item[0] for item in orjson.loads(encode_presence(events))] == [0, 1, 2, 3, 4, 5]


def test_no_error_repeats_a_body() -> None:
    with pytest.raises(CodecError) as caught:
        decode_entry(orjson.dumps(["g", 1, [[0, 1, "a", "d", "b", "c", ["secret"], None]]]))
    assert "secret" not in str(caught.value)
