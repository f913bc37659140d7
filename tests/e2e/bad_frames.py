"""Owns the table of frames that a gateway must refuse, each with the answer that PROTOCOL names for it.

Data only. `@PEER@`, `@SELF@`, `@STRANGER@` stand for user ids.
"""

from dataclasses import dataclass
from typing import Final

MAX_FRAME_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 16_384
EMOJI: Final = "\U0001f600"


@dataclass(frozen=True, slots=True)
class Bad:
    """A frame, and the one `error` that answers it (`ref` when it could be read) or the code that closes."""

    name: str
    frame: str | bytes
    code: str | None = None
    ref: str | None = None
    close: int | None = None
    binary: bool = False


def _send(name: str, rest: str, code: str, *, ref: str | None = "r1") -> Bad:
    return Bad(name, '{"type":"send","id":"r1",' + rest + "}", code, ref)


def _ask(name: str, kind: str, rest: str, code: str, *, ref: str | None = "r1") -> Bad:
    return Bad(name, f'{{"type":"{kind}","ref":"r1",{rest}}}', code, ref)


NO_OBJECT: Final = (
    Bad("nothing", "", "invalid_frame"),
    Bad("text that is no JSON", "hello", "invalid_frame"),
    Bad("half an object", '{"type":"ping"', "invalid_frame"),
    Bad("an array", "[]", "invalid_frame"),
    Bad("an array with a frame in it", '[{"type":"ping"}]', "invalid_frame"),
    Bad("null", "null", "invalid_frame"),
    Bad("a string", '"ping"', "invalid_frame"),
    Bad("a number", "42", "invalid_frame"),
    Bad("text behind the object", '{"type":"ping"} x', "invalid_frame"),
    Bad("two objects", '{"type":"ping"}{"type":"ping"}', "invalid_frame"),
    Bad("a trailing comma", '{"type":"ping",}', "invalid_frame"),
    Bad("single quotes", "{'type':'ping'}", "invalid_frame"),
    Bad("a byte order mark", '\ufeff{"type":"ping"}', "invalid_frame"),
    Bad("a comment", '{"type":"ping"/*x*/}', "invalid_frame"),
    Bad("nesting without end", "[" * 20_000, "invalid_frame"),
    Bad("deep nesting in a field", '{"type":"ping","x":' + "[" * 5_000 + "]" * 5_000 + "}", "invalid_frame"),
    Bad("a binary frame", b'{"type":"ping"}', "invalid_frame", binary=True),
)

TYPES: Final = (
    Bad("no type", "{}", "invalid_frame"),
    Bad("type null, which is absent", '{"type":null}', "invalid_frame"),
    Bad("an unknown type", '{"type":"frobnicate","ref":"r1"}', "unknown_type", "r1"),
    Bad("a type in capitals", '{"type":"PING","ref":"r1"}', "unknown_type", "r1"),
    Bad("a type with a space", '{"type":"ping ","ref":"r1"}', "unknown_type", "r1"),
    Bad("a server's type", '{"type":"sent","ref":"r1"}', "unknown_type", "r1"),
    Bad("another server's type", '{"type":"welcome","ref":"r1"}', "unknown_type", "r1"),
    Bad("type twice", '{"type":"ping","type":"ping"}', "invalid_frame"),
    Bad("ping with an unknown field", '{"type":"ping","ref":"r1","x":1}', "invalid_frame", "r1"),
    Bad("a field twice, once null", '{"type":"ping","ref":null,"ref":"r1"}', "invalid_frame", "r1"),
    Bad("an unknown field with a lone surrogate in its name", '{"type":"ping","\\ud800":null}', "invalid_frame"),
    Bad("an empty ref", '{"type":"ping","ref":""}', "invalid_frame"),
    Bad("a ref with a space", '{"type":"ping","ref":"r 1"}', "invalid_frame"),
    Bad("a ref of 65 characters", '{"type":"ping","ref":"' + "r" * 65 + '"}', "invalid_frame"),
    Bad("a ref that is a number", '{"type":"ping","ref":5}', "invalid_frame"),
    Bad("a ref with a newline at its end", '{"type":"ping","ref":"r1\\n"}', "invalid_frame"),
)

SENDS: Final = (
    Bad("send without id", '{"type":"send","to":"@PEER@","body":"x"}', "invalid_frame"),
    Bad("send with an empty id", '{"type":"send","id":"","to":"@PEER@","body":"x"}', "invalid_frame"),
    Bad("send with a number as id", '{"type":"send","id":7,"to":"@PEER@","body":"x"}', "invalid_frame"),
    Bad("send with an id with a dot", '{"type":"send","id":"a.b","to":"@PEER@","body":"x"}', "invalid_frame"),
    Bad("send with an id with an accent", '{"type":"send","id":"é","to":"@PEER@","body":"x"}', "invalid_frame"),
    Bad("send with a newline after its id", '{"type":"send","id":"a\\n","to":"@PEER@","body":"x"}', "invalid_frame"),
    Bad("send with an id of 65", '{"type":"send","id":"' + "a" * 65 + '","to":"@PEER@","body":"x"}', "invalid_frame"),
    _send("send without to", '"body":"x"', "invalid_frame"),
    _send("send without body", '"to":"@PEER@"', "invalid_frame"),
    _send("send with body null", '"to":"@PEER@","body":null', "invalid_frame"),
    _send("send with a number as body", '"to":"@PEER@","body":5', "invalid_frame"),
    _send("send with an object as body", '"to":"@PEER@","body":{}', "invalid_frame"),
    _send("send with an empty body", '"to":"@PEER@","body":""', "invalid_frame"),
    _send("send with an unknown field", '"to":"@PEER@","body":"x","urgent":true', "invalid_frame"),
    _send("send with body twice", '"to":"@PEER@","body":"x","body":"y"', "invalid_frame"),
    _send("send with a key twice, once escaped", '"to":"@PEER@","body":"x","bod\\u0079":"y"', "invalid_frame"),
    _send("send with a lone high surrogate", '"to":"@PEER@","body":"\\ud800"', "invalid_frame"),
    _send("send with a lone low surrogate", '"to":"@PEER@","body":"a\\udc00b"', "invalid_frame"),
    _send("send with surrogates the wrong way", '"to":"@PEER@","body":"\\udc00\\ud800"', "invalid_frame"),
    Bad("send with a raw newline", '{"type":"send","id":"r1","to":"@PEER@","body":"a\nb"}', "invalid_frame", "r1"),
    Bad("send with a bad escape", '{"type":"send","id":"r1","to":"@PEER@","body":"\\x41"}', "invalid_frame", None),
    _send("a body of 16,385 bytes", f'"to":"@PEER@","body":"{"x" * (MAX_BODY_BYTES + 1)}"', "too_large"),
    _send("a body of 16,386 bytes in two each", f'"to":"@PEER@","body":"{"é" * 8_193}"', "too_large"),
    _send("a body of 16,388 bytes in four each", f'"to":"@PEER@","body":"{EMOJI * 4_097}"', "too_large"),
    _send("a body too large once unescaped", '"to":"@PEER@","body":"' + "\\u20ac" * 5_462 + '"', "too_large"),
    _send("send to nobody", '"to":"","body":"x"', "invalid_recipient"),
    _send("send to an id of 65", f'"to":"{"b" * 65}","body":"x"', "invalid_recipient"),
    _send("send to an id with a space at its end", '"to":"@PEER@ ","body":"x"', "invalid_recipient"),
    _send("send to an id with a newline at its end", '"to":"@PEER@\\n","body":"x"', "invalid_recipient"),
    _send("send to an id with an accent", '"to":"bób","body":"x"', "invalid_recipient"),
    _send("send to an id with a NUL", '"to":"bob\\u0000","body":"x"', "invalid_recipient"),
    _send("send to an id with a slash", '"to":"a/b","body":"x"', "invalid_recipient"),
    _send("send to oneself", '"to":"@SELF@","body":"x"', "invalid_recipient"),
)

ACKS: Final = (
    _ask("ack without peer", "delivery_ack", '"seq":1', "invalid_frame"),
    _ask("ack without seq", "delivery_ack", '"peer":"@PEER@"', "invalid_frame"),
    _ask("ack with seq null", "delivery_ack", '"peer":"@PEER@","seq":null', "invalid_frame"),
    _ask("ack with seq 1.0", "delivery_ack", '"peer":"@PEER@","seq":1.0', "invalid_frame"),
    _ask("ack with seq 1e0", "delivery_ack", '"peer":"@PEER@","seq":1e0', "invalid_frame"),
    _ask("ack with seq true", "read_ack", '"peer":"@PEER@","seq":true', "invalid_frame"),
    _ask("ack with seq as text", "read_ack", '"peer":"@PEER@","seq":"1"', "invalid_frame"),
    _ask("ack with a negative seq", "read_ack", '"peer":"@PEER@","seq":-1', "invalid_frame"),
    Bad("ack with seq NaN", '{"type":"read_ack","peer":"@PEER@","seq":NaN}', "invalid_frame"),
    Bad("ack with seq 01", '{"type":"read_ack","peer":"@PEER@","seq":01}', "invalid_frame"),
    _ask("ack with seq twice", "read_ack", '"peer":"@PEER@","seq":1,"seq":1', "invalid_frame"),
    _ask("ack with an unknown field", "read_ack", '"peer":"@PEER@","seq":1,"user":"x"', "invalid_frame"),
    _ask("ack of oneself", "delivery_ack", '"peer":"@SELF@","seq":1', "invalid_recipient"),
    _ask("ack of a bad id", "delivery_ack", '"peer":"a b","seq":1', "invalid_recipient"),
    _ask("delivery_ack beyond the last seq", "delivery_ack", '"peer":"@PEER@","seq":2', "ack_ahead"),
    _ask("read_ack beyond the last seq", "read_ack", '"peer":"@PEER@","seq":2', "ack_ahead"),
    _ask("ack far beyond", "read_ack", '"peer":"@PEER@","seq":9007199254740993', "ack_ahead"),
    _ask(
        "ack beyond what the database's numbers hold", "delivery_ack", f'"peer":"@PEER@","seq":1{"0" * 30}', "ack_ahead"
    ),
    _ask("ack with seq -0.0", "delivery_ack", '"peer":"@PEER@","seq":-0.0', "invalid_frame"),
    _ask("ack where nothing was ever said", "delivery_ack", '"peer":"@STRANGER@","seq":1', "ack_ahead"),
)

REQUESTS: Final = (
    _ask("history without peer", "history", '"limit":5', "invalid_frame"),
    _ask("history of a bad id", "history", '"peer":"@PEER@ "', "invalid_recipient"),
    _ask("history with oneself", "history", '"peer":"@SELF@"', "invalid_recipient"),
    _ask("history before and after", "history", '"peer":"@PEER@","before":5,"after":1', "invalid_frame"),
    _ask("history with limit 0", "history", '"peer":"@PEER@","limit":0', "invalid_frame"),
    _ask("history with limit 201", "history", '"peer":"@PEER@","limit":201', "invalid_frame"),
    _ask("history with limit 1.5", "history", '"peer":"@PEER@","limit":1.5', "invalid_frame"),
    _ask("history before a negative seq", "history", '"peer":"@PEER@","before":-1', "invalid_frame"),
    _ask("history after a text", "history", '"peer":"@PEER@","after":"1"', "invalid_frame"),
    _ask("conversations with limit 0", "conversations", '"limit":0', "invalid_frame"),
    _ask("conversations with limit 201", "conversations", '"limit":201', "invalid_frame"),
    _ask("conversations with a number as cursor", "conversations", '"cursor":5', "invalid_frame"),
    _ask("conversations with a made-up cursor", "conversations", '"cursor":"garbage"', "invalid_frame"),
    _ask("typing without to", "typing", '"x":1', "invalid_frame"),
    _ask("typing to oneself", "typing", '"to":"@SELF@"', "invalid_recipient"),
    _ask("typing to a bad id", "typing", '"to":"a b"', "invalid_recipient"),
    _ask("subscribe to no list", "presence_subscribe", '"users":"@PEER@"', "invalid_frame"),
    _ask("subscribe without users", "presence_subscribe", '"limit":1', "invalid_frame"),
    _ask("subscribe to a bad id", "presence_subscribe", '"users":["@PEER@","a b"]', "invalid_recipient"),
    _ask("unsubscribe from a bad id", "presence_unsubscribe", '"users":[""]', "invalid_recipient"),
    _ask("auth without token", "auth", '"x":1', "invalid_frame"),
    _ask("auth with a number", "auth", '"token":5', "invalid_frame"),
    _ask("auth with an empty token", "auth", '"token":""', "forbidden"),
    _ask("auth with garbage", "auth", '"token":"garbage"', "forbidden"),
    _ask("auth with three parts of garbage", "auth", '"token":"a.b.c"', "forbidden"),
)

FATAL: Final = (
    Bad("a frame of 64 KiB and a byte", '{"type":"ping"}'.ljust(MAX_FRAME_BYTES + 1), close=1009),
    Bad("a frame of a megabyte", "x" * (1 << 20), close=1009),
    Bad("a binary frame of 64 KiB and a byte", b"x" * (MAX_FRAME_BYTES + 1), close=1009, binary=True),
    Bad("text that is not UTF-8", b'{"type":"ping","ref":"\xff"}', close=1007),
    Bad("text that ends in half a character", b'{"type":"ping"}\xc3', close=1007),
    Bad("an overlong encoding", b'{"type":"ping","ref":"\xc0\xaf"}', close=1007),
    Bad("a surrogate in UTF-8", b'{"type":"ping","ref":"\xed\xa0\x80"}', close=1007),
)

TABLE: Final = (*NO_OBJECT, *TYPES, *SENDS, *ACKS, *REQUESTS, *FATAL)
