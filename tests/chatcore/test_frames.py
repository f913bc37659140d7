"""The frames of a client: every way in which one is at fault has its exact code and `ref`."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from chatcore.errors import Close, Code, FatalFrame, ProtocolError
from chatcore.frames import (
    MAX_BODY_BYTES,
    Auth,
    ClientFrame,
    Conversations,
    DeliveryAck,
    History,
    Ping,
    PresenceSubscribe,
    PresenceUnsubscribe,
    ReadAck,
    Send,
    Typing,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

INVALID, UNKNOWN, RECIPIENT = Code.INVALID_FRAME, Code.UNKNOWN_TYPE, Code.INVALID_RECIPIENT
MANY = json.dumps([f"u{n}" for n in range(201)])


@dataclass(frozen=True, slots=True)
class Bad:
    """A frame at fault, and what its sender is told."""

    raw: str | bytes
    code: Code = INVALID
    ref: str | None = None


TABLE = (
    # No object.
    Bad(""),
    Bad(" "),
    Bad("{"),
    Bad("null"),
    Bad("5"),
    Bad('"ping"'),
    Bad("[]"),
    Bad('[{"type":"ping"}]'),
    Bad("{'type':'ping'}"),
    Bad('{"type":"ping",}'),
    Bad('{"type":"ping"} {"type":"ping"}'),
    Bad('{"type":"ping"}x'),
    Bad('{"type":"ping"}\0'),
    Bad('\ufeff{"type":"ping"}'),
    Bad('{"type":"ping"/**/}'),
    Bad("[" * 60_000),
    Bad('{"type":"ping","x":' + "[" * 5_000 + "]" * 5_000 + "}"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"a\tb"}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"a\nb"}', ref="c1"),
    # Types.
    Bad("{}"),
    Bad('{"ref":"r1"}', ref="r1"),
    Bad('{"type":null,"ref":"r1"}', ref="r1"),
    Bad('{"type":5,"ref":"r1"}', ref="r1"),
    Bad('{"type":["ping"]}'),
    Bad('{"TYPE":"ping"}'),
    Bad('{"type":"nope"}', UNKNOWN),
    Bad('{"type":"Ping","ref":"r1"}', UNKNOWN, "r1"),
    Bad('{"type":"","ref":"r1"}', UNKNOWN, "r1"),
    Bad('{"type":"welcome","x":[1],"ref":"r1"}', UNKNOWN, "r1"),
    # Fields too many or too few.
    Bad('{"type":"ping","x":1,"ref":"r1"}', ref="r1"),
    Bad('{"type":"ping","x":{"y":null}}'),
    Bad('{"type":"send","id":"c1","to":"bob"}', ref="c1"),
    Bad('{"type":"send","to":"bob","body":"x"}'),
    Bad('{"type":"send","id":"c1","body":"x"}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":null}', ref="c1"),
    Bad('{"type":"send","id":null,"to":"bob","body":"x","ref":"r1"}', ref="r1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"x","from":"eve"}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"a b","body":"x","y":1}', ref="c1"),
    Bad('{"type":"delivery_ack","peer":"bob","ref":"r1"}', ref="r1"),
    Bad('{"type":"read_ack","seq":1}'),
    Bad('{"type":"typing"}'),
    Bad('{"type":"auth"}'),
    Bad('{"type":"history"}'),
    # Keys that come twice.
    Bad('{"type":"ping","type":"ping"}'),
    Bad('{"type":"ping","\\u0074ype":"ping"}'),
    Bad('{"type":"ping","ref":"r1","ref":"r2"}', ref="r2"),
    Bad('{"type":"ping","ref":null,"ref":"r1"}', ref="r1"),
    Bad('{"type":"nope","x":1,"x":2}'),
    Bad('{"type":"send","id":"c1","to":"bob","body":"x","body":"y"}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","to":"eve","body":"x"}', ref="c1"),
    Bad('{"type":"ping","x":null,"x":null}'),
    # Numbers.
    Bad('{"type":"delivery_ack","peer":"bob","seq":1.0,"ref":"r1"}', ref="r1"),
    Bad('{"type":"delivery_ack","peer":"bob","seq":1e2}'),
    Bad('{"type":"delivery_ack","peer":"bob","seq":true}'),
    Bad('{"type":"delivery_ack","peer":"bob","seq":"1"}'),
    Bad('{"type":"delivery_ack","peer":"bob","seq":-1}'),
    Bad('{"type":"delivery_ack","peer":"bob","seq":01}'),
    Bad('{"type":"read_ack","peer":"bob","seq":null}'),
    Bad('{"type":"history","peer":"bob","limit":NaN}'),
    Bad('{"type":"history","peer":"bob","limit":Infinity}'),
    Bad('{"type":"history","peer":"bob","limit":0}'),
    Bad('{"type":"history","peer":"bob","limit":201,"ref":"h1"}', ref="h1"),
    Bad('{"type":"history","peer":"bob","before":1,"after":0,"ref":"h1"}', ref="h1"),
    Bad('{"type":"conversations","limit":0}'),
    Bad('{"type":"conversations","cursor":5}'),
    Bad('{"type":"conversations","cursor":"' + "x" * 257 + '"}'),
    # Texts and ids.
    Bad('{"type":"send","id":"c1","to":"bob","body":""}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":5}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":["x"]}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"\\ud800"}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"\\ude00\\ud83d"}', ref="c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"\\x41"}'),
    Bad('{"type":"send","id":"","to":"bob","body":"x"}'),
    Bad('{"type":"send","id":"c 1","to":"bob","body":"x","ref":"r1"}', ref="r1"),
    Bad('{"type":"send","id":"c1\\n","to":"bob","body":"x"}'),
    Bad('{"type":"send","id":"c.1","to":"bob","body":"x"}'),
    Bad('{"type":"send","id":"' + "c" * 65 + '","to":"bob","body":"x"}'),
    Bad('{"type":"send","id":5,"to":"bob","body":"x"}'),
    Bad('{"type":"send","id":"c1","to":5,"body":"x"}', ref="c1"),
    Bad('{"type":"ping","ref":""}'),
    Bad('{"type":"ping","ref":"a b"}'),
    Bad('{"type":"ping","ref":5}'),
    Bad('{"type":"ping","ref":"' + "r" * 65 + '"}'),
    Bad('{"type":"send","id":"c1","to":"bob","body":"x","ref":"!"}', ref="c1"),
    Bad('{"type":"presence_subscribe","users":[]}'),
    Bad('{"type":"presence_subscribe","users":"bob"}'),
    Bad('{"type":"presence_subscribe","users":[5],"ref":"r1"}', ref="r1"),
    # Recipients.
    Bad('{"type":"send","id":"c1","to":"","body":"x"}', RECIPIENT, "c1"),
    Bad('{"type":"send","id":"c1","to":"bob ","body":"x"}', RECIPIENT, "c1"),
    Bad('{"type":"send","id":"c1","to":"bob\\n","body":"x"}', RECIPIENT, "c1"),
    Bad('{"type":"send","id":"c1","to":"b\\u0000b","body":"x"}', RECIPIENT, "c1"),
    Bad('{"type":"send","id":"c1","to":"böb","body":"x"}', RECIPIENT, "c1"),
    Bad('{"type":"send","id":"c1","to":"' + "b" * 65 + '","body":"x"}', RECIPIENT, "c1"),
    Bad('{"type":"delivery_ack","peer":"a/b","seq":1,"ref":"r1"}', RECIPIENT, "r1"),
    Bad('{"type":"read_ack","peer":"","seq":1}', RECIPIENT),
    Bad('{"type":"history","peer":"a b","ref":"h1"}', RECIPIENT, "h1"),
    Bad('{"type":"typing","to":"a b"}', RECIPIENT),
    Bad('{"type":"presence_subscribe","users":["bob","a b"],"ref":"r1"}', RECIPIENT, "r1"),
    # Sizes.
    Bad('{"type":"send","id":"c1","to":"bob","body":"' + "x" * (MAX_BODY_BYTES + 1) + '"}', Code.TOO_LARGE, "c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"' + "ä" * (MAX_BODY_BYTES // 2 + 1) + '"}', Code.TOO_LARGE, "c1"),
    Bad('{"type":"send","id":"c1","to":"bob","body":"' + "😀" * (MAX_BODY_BYTES // 4) + 'x"}', Code.TOO_LARGE, "c1"),
    Bad('{"type":"presence_subscribe","ref":"r1","users":' + MANY + "}", Code.OVERLOADED, "r1"),
)


@pytest.mark.parametrize("bad", TABLE, ids=[str(n) for n in range(len(TABLE))])
def test_each_frame_at_fault_is_told_its_code_and_its_ref(bad: Bad) -> None:
    raw = bad.raw.encode() if isinstance(bad.raw, str) else bad.raw
    with pytest.raises(ProtocolError) as caught:
        parse(raw)
    assert (caught.value.code, caught.value.ref) == (bad.code, bad.ref)
    assert caught.value.message


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"\xc0\x80",
        b'{"type":"ping"\xff}',
        b'{"type":"send","id":"c","to":"b","body":"\xed\xa0\x80"}',
        b"\xfe\xff{",
    ],
)
def test_bytes_that_are_not_utf8_close_with_1007(raw: bytes) -> None:
    with pytest.raises(FatalFrame) as caught:
        parse(raw)
    assert caught.value.close is Close.INVALID_UTF8


GOOD: tuple[tuple[str, ClientFrame], ...] = (
    ('{"type":"send","id":"c1","to":"bob","body":"hi"}', Send(type="send", id="c1", to="bob", body="hi")),
    (
        '{"type":"send","id":"c1","to":"b@x:+","body":"a:b","ref":"r"}',
        Send(type="send", id="c1", to="b@x:+", body="a:b", ref="r"),
    ),
    ('{"type":"delivery_ack","peer":"bob","seq":0}', DeliveryAck(type="delivery_ack", peer="bob", seq=0)),
    (
        '{"type":"read_ack","peer":"bob","seq":9223372036854775807}',
        ReadAck(type="read_ack", peer="bob", seq=2**63 - 1),
    ),
    (
        '{"type":"read_ack","peer":"bob","seq":1000000000000000000000000000000}',
        ReadAck(type="read_ack", peer="bob", seq=2**63 - 1),
    ),
    ('{"type":"history","peer":"bob"}', History(type="history", peer="bob")),
    (
        '{"type":"history","peer":"bob","after":0,"before":null,"limit":200}',
        History(type="history", peer="bob", after=0, limit=200),
    ),
    (
        '{"type":"conversations","ref":"h2","limit":1,"cursor":null}',
        Conversations(type="conversations", ref="h2", limit=1),
    ),
    ('{"type":"typing","to":"bob"}', Typing(type="typing", to="bob")),
    (
        '{"type":"presence_subscribe","users":["bob","carol"]}',
        PresenceSubscribe(type="presence_subscribe", users=["bob", "carol"]),
    ),
    (
        '{"type":"presence_unsubscribe","users":["bob"]}',
        PresenceUnsubscribe(type="presence_unsubscribe", users=["bob"]),
    ),
    ('{"type":"auth","token":"a.b.c"}', Auth(type="auth", token="a.b.c")),
    (' {"type" : "ping"} \r\n', Ping(type="ping")),
    ('{"\\u0074ype":"\\u0070ing"}', Ping(type="ping")),
)


@pytest.mark.parametrize(("raw", "frame"), GOOD)
def test_each_frame_of_the_protocol_is_read(raw: str, frame: ClientFrame) -> None:
    assert parse(raw.encode()).model_dump() == frame.model_dump()


def test_a_field_that_is_null_is_absent_known_or_not() -> None:
    assert parse(b'{"type":"ping","ref":null}').ref is None
    assert isinstance(parse(b'{"type":"ping","x":null}'), Ping)
    frame = parse(b'{"type":"send","id":"c1","to":"bob","body":"hi","x":null,"ref":"r1"}')
    assert isinstance(frame, Send)
    assert (frame.id, frame.body, frame.ref) == ("c1", "hi", "r1")


@pytest.mark.parametrize("body", ["x" * MAX_BODY_BYTES, "😀" * (MAX_BODY_BYTES // 4), "\0", "e\u0301", "\\u0000", '"'])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_body_comes_out_byte_for_byte(body: str, ascii_only: bool) -> None:
    raw = json.dumps({"type": "send", "id": "c1", "to": "bob", "body": body}, ensure_ascii=ascii_only).encode()
    frame = parse(raw)
    assert isinstance(frame, Send)
    assert frame.body == body


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), st.booleans())
def test_any_text_is_a_body_and_colons_in_it_name_no_fields(body: str, ascii_only: bool) -> None:
    frame = parse(json.dumps({"type": "send", "id": "c1", "to": "b:o", "body": body}, ensure_ascii=ascii_only).encode())
    assert isinstance(frame, Send)
    assert (frame.to, frame.body) == ("b:o", body)


fields = st.lists(
    st.sampled_from(["type", "id", "to", "body", "ref"]).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(["send", "c1", "bob", "a:b", ":", None]))
    ),
    max_size=7,
)


def _text_of(pairs: list[tuple[str, Any]], escaped: bool) -> bytes:
    names = [f'"\\u{ord(name[0]):04x}{name[1:]}"' if escaped else f'"{name}"' for name, _ in pairs]
    return ("{" + ",".join(f"{n}:{json.dumps(v)}" for n, (_, v) in zip(names, pairs, strict=True)) + "}").encode()


@given(fields, st.booleans())
def test_a_key_that_comes_twice_never_passes_however_many_colons_there_are(
    pairs: list[tuple[str, Any]], escaped: bool
) -> None:
    """Counting colons spares most frames the second parser; a colon in a text must not hide a second key."""
    pairs = [("type", "send"), ("id", "c1"), ("to", "bob"), ("body", "a:b"), *pairs]
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        with pytest.raises(ProtocolError) as caught:
            parse(_text_of(pairs, escaped))
        assert caught.value.code == INVALID


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(
    st.sampled_from(["type", "id", "to", "peer", "seq", "users", "body", "ref", "token", "x"]),
    st.sampled_from(["send", "ping", "history", "delivery_ack", "presence_subscribe", "auth"]) | json_values,
    max_size=6,
)


@given(st.binary(max_size=50) | objects.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_frame_or_a_named_fault(raw: bytes) -> None:
    fault = _fault_of(raw)
    if fault == Close.INVALID_UTF8:
        with pytest.raises(UnicodeDecodeError):
            raw.decode()
    else:
        raw.decode()  # nothing but UTF-8 is answered
        assert fault in {None, INVALID, UNKNOWN, RECIPIENT, Code.TOO_LARGE, Code.OVERLOADED}


def _fault_of(raw: bytes) -> Code | Close | None:
    try:
        parse(raw)
    except ProtocolError as error:
        return error.code
    except FatalFrame as error:
        return error.close
    return None
