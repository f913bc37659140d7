"""What a running system sends is what the published document says, to the last field."""

import orjson
from chatcore.server_frames import read_server_frame
from chatctl.verify.connection import RawConnection

from tests.harness.cast import Cast


async def test_every_frame_of_a_life_is_one_that_the_document_names(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.connect(alice)
    await sender.sync()
    await sender.send({"type": "presence_subscribe", "users": [bob], "ref": "p1"})
    await sender.expect("presence", user=bob, online=False)
    recipient = await cast.connect(bob, gateway=1)
    await recipient.sync()
    await sender.expect("presence", user=bob, online=True)
    await _talk(sender, recipient, alice, bob)
    await _ask(sender, cast, alice, bob)

    came = [*sender.frames, *recipient.frames]
    for frame in came:
        read_server_frame(orjson.dumps(frame))
    everything_but_goaway = {
        "welcome", "sync", "sent", "message", "receipt", "history", "conversations", "presence", "typing", "auth_ok",
        "pong", "error",
    }  # fmt: skip
    assert {frame["type"] for frame in came} == everything_but_goaway


async def _talk(sender: RawConnection, recipient: RawConnection, alice: str, bob: str) -> None:
    await sender.send({"type": "typing", "to": bob})
    await recipient.expect("typing", peer=alice)
    await sender.send({"type": "send", "id": "c1", "ref": "r1", "to": bob, "body": "hi"})
    await sender.expect("sent", id="c1")
    await recipient.expect("message", seq=1)
    await recipient.send({"type": "read_ack", "peer": alice, "seq": 1})
    await sender.expect("receipt", read=1)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "something else"})
    await sender.expect("error", code="id_conflict")
    await sender.send({"type": "delivery_ack", "peer": bob, "seq": 9, "ref": "r2"})
    await sender.expect("error", code="ack_ahead", peer=bob)


async def _ask(sender: RawConnection, cast: Cast, alice: str, bob: str) -> None:
    for number, frame in enumerate(({"type": "history", "peer": bob}, {"type": "conversations"})):
        await sender.send({**frame, "ref": f"q{number}"})
        await sender.expect(frame["type"], ref=f"q{number}")
    await sender.send({"type": "auth", "token": cast.system.token(alice, ttl_s=7200), "ref": "a1"})
    await sender.expect("auth_ok")
    await sender.send({"type": "ping", "ref": "g1"})
    await sender.expect("pong")
