"""The outside judge's reading of a server's frames takes what PROTOCOL shows, and nothing else."""

import orjson
import pytest
from chatctl.verify.contract import BrokenContract, Frame, read_frame

MESSAGE = {"peer": "a", "from": "a", "device": "phone", "seq": 43, "id": "c1", "ts": 5, "body": "hi"}
CONVERSATION = {"peer": "a", "last": 3, "cursor": 1, "read": 1, "peer_delivered": 0, "peer_read": 0}
GOOD: list[Frame] = [
    {"type": "sync", "conversations": [CONVERSATION], "messages": [MESSAGE], "done": False, "token": None},
    {"type": "sync", "conversations": [], "messages": [], "done": True, "token": "t"},
    {"type": "sent", "id": "c1", "peer": "bob", "seq": 43, "ts": 5},
    {"type": "message", **MESSAGE},
    {"type": "receipt", "peer": "bob", "user": "bob", "delivered": 43, "read": 40},
    {"type": "history", "ref": "h", "peer": "a", "messages": [{**MESSAGE, "state": "read"}], "more": False},
    {"type": "conversations", "ref": "h", "items": [], "cursor": None},
    {"type": "presence", "user": "bob", "online": True, "last_seen": None},
    {"type": "typing", "peer": "bob"},
    {"type": "auth_ok", "expires_at": 5},
    {"type": "pong"},
    {"type": "error", "code": "id_conflict", "message": "m", "ref": "c1"},
    {"type": "error", "code": "unavailable", "message": "m", "ref": "c1", "retry_after_ms": 100},
    {"type": "goaway", "reason": "draining", "reconnect_after_ms": 100},
    {"type": "pong", "a_field_of_the_future": 1},
]
BAD: list[Frame] = [
    {"type": "surprise"},
    {"type": "sync", "conversations": [], "messages": [], "done": True, "token": None},
    {"type": "sync", "conversations": [], "messages": [], "done": False, "token": "t"},
    {"type": "sync", "conversations": [{"peer": "a"}], "messages": [], "done": True, "token": "t"},
    {"type": "sent", "id": "c1", "peer": "bob", "seq": 43},
    {"type": "sent", "id": "c1", "peer": "bob", "seq": 43.0, "ts": 5},
    {"type": "receipt", "peer": "bob", "user": "bob", "delivered": True, "read": 0},
    {"type": "history", "ref": "h", "peer": "a", "messages": [{**MESSAGE, "state": "lost"}], "more": False},
    {"type": "error", "code": "id_conflict", "message": "m", "ref": "c1", "retry_after_ms": 100},
    {"type": "error", "code": "unavailable", "message": "m", "ref": "c1"},
    {"type": "error", "code": "oops", "message": "m"},
    {"type": "message", **MESSAGE, "body": "x" * 300_000},
]


@pytest.mark.parametrize("frame", GOOD, ids=[f"{n}-{frame['type']}" for n, frame in enumerate(GOOD)])
def test_a_frame_of_the_protocol_is_taken(frame: Frame) -> None:
    assert read_frame(orjson.dumps(frame).decode()) == frame


@pytest.mark.parametrize("frame", BAD, ids=[f"{n}-{frame['type']}" for n, frame in enumerate(BAD)])
def test_a_frame_that_breaks_the_protocol_is_refused(frame: Frame) -> None:
    with pytest.raises(BrokenContract):
        read_frame(orjson.dumps(frame).decode())


def test_a_history_that_does_not_ascend_is_refused() -> None:
    messages = [{**MESSAGE, "seq": seq, "state": "read"} for seq in (2, 1)]
    frame = {"type": "history", "ref": "h", "peer": "a", "messages": messages, "more": False}
    with pytest.raises(BrokenContract):
        read_frame(orjson.dumps(frame).decode())
