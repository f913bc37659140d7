"""The life of a message between two people on two gateways, frame by frame."""

import asyncio

from chatctl.verify.connection import EXPECT_TIMEOUT_S, RawConnection
from chatctl.verify.reading import read_log

from tests.harness.cast import Cast


async def _state(connection: RawConnection, peer: str, seq: int) -> str:
    return next(entry.state for entry in await read_log(connection, peer) if entry.seq == seq)


async def test_a_message_goes_from_created_to_read_and_every_step_is_told(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice, gateway=0)
    recipient = await cast.online(bob, gateway=1)

    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    sent = await sender.expect("sent", id="c1", peer=bob, seq=1)
    assert await _state(sender, bob, 1) == "created"

    message = await recipient.expect("message", peer=alice, from_=alice, device="phone", seq=1, id="c1", body="hi")
    assert message["ts"] == sent["ts"]

    await sender.send({"type": "delivery_ack", "peer": bob, "seq": 1})
    await _until_state(sender, bob, "sent")

    await recipient.send({"type": "delivery_ack", "peer": alice, "seq": 1})
    await sender.expect("receipt", peer=bob, user=bob, delivered=1, read=0)
    assert await _state(sender, bob, 1) == "delivered"

    await recipient.send({"type": "read_ack", "peer": alice, "seq": 1})
    await sender.expect("receipt", peer=bob, user=bob, delivered=1, read=1)
    assert await _state(sender, bob, 1) == "read"
    assert await _state(recipient, alice, 1) == "read"


async def _until_state(connection: RawConnection, peer: str, state: str) -> None:
    async with asyncio.timeout(EXPECT_TIMEOUT_S):
        while await _state(connection, peer, 1) != state:
            await asyncio.sleep(0.02)


async def test_a_read_ack_implies_delivery(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob, gateway=1)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await recipient.expect("message", seq=1)
    await recipient.send({"type": "read_ack", "peer": alice, "seq": 1})
    await sender.expect("receipt", peer=bob, user=bob, delivered=1, read=1)


async def test_the_senders_other_devices_get_the_message_and_the_sending_one_does_not(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    phone = await cast.online(alice, "phone", gateway=0)
    laptop = await cast.online(alice, "laptop", gateway=1)
    await phone.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await phone.expect("sent", id="c1")
    await laptop.expect("message", peer=bob, from_=alice, device="phone", seq=1, id="c1", body="hi")
    await phone.settled()
    assert phone.untaken("message") == []


async def test_a_users_other_devices_learn_what_the_user_has_read(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    phone, laptop = await cast.online(bob, "phone"), await cast.online(bob, "laptop", gateway=1)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await phone.expect("message", seq=1)
    await phone.send({"type": "read_ack", "peer": alice, "seq": 1})
    await laptop.expect("receipt", peer=alice, user=bob, read=1)


async def test_both_ends_number_their_conversation_alike(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    one, other = await cast.online(alice), await cast.online(bob, gateway=1)
    for number in range(20):
        await one.send({"type": "send", "id": f"a{number}", "to": bob, "body": "from alice"})
        await other.send({"type": "send", "id": f"b{number}", "to": alice, "body": "from bob"})
    seen_by_alice = {(await one.expect("sent", id=f"a{n}"))["seq"]: f"a{n}" for n in range(20)}
    seen_by_alice |= {(await one.expect("message", id=f"b{n}"))["seq"]: f"b{n}" for n in range(20)}
    seen_by_bob = {(await other.expect("sent", id=f"b{n}"))["seq"]: f"b{n}" for n in range(20)}
    seen_by_bob |= {(await other.expect("message", id=f"a{n}"))["seq"]: f"a{n}" for n in range(20)}
    assert seen_by_alice == seen_by_bob
    assert sorted(seen_by_alice) == list(range(1, 41))


async def test_messages_of_one_connection_are_numbered_in_the_order_of_sending(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    for number in range(300):
        await sender.send({"type": "send", "id": f"m{number}", "to": bob, "body": str(number)})
    seqs = [(await sender.expect("sent", id=f"m{number}"))["seq"] for number in range(300)]
    assert seqs == list(range(1, 301))


async def test_acknowledgements_late_and_twice_lower_nothing(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    for number in range(1, 4):
        await sender.send({"type": "send", "id": f"m{number}", "to": bob, "body": "x"})
    await recipient.expect("message", seq=3)
    for seq in (3, 1, 3, 2):
        await recipient.send({"type": "read_ack", "peer": alice, "seq": seq})
    await sender.expect("receipt", delivered=3, read=3)
    assert [entry.state for entry in await read_log(recipient, alice)] == ["read"] * 3
    assert all(frame["read"] <= 3 for frame in sender.untaken("receipt"))
    again = await cast.online(alice, "phone", gateway=1)
    assert again.frames[1]["conversations"][0]["peer_read"] == 3


async def test_a_rise_over_ones_own_messages_alone_tells_the_peer_nothing(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await sender.expect("sent", seq=1)
    await sender.send({"type": "delivery_ack", "peer": bob, "seq": 1})
    await _until_state(sender, bob, "sent")
    await recipient.expect("message", seq=1)
    await recipient.send({"type": "send", "id": "c2", "to": alice, "body": "hello"})
    await recipient.expect("sent", seq=2)
    await sender.expect("message", seq=2)
    await sender.send({"type": "delivery_ack", "peer": bob, "seq": 2})
    first = await recipient.expect("receipt", user=alice)
    assert first["delivered"] == 2


async def test_an_answer_on_the_same_connection_may_follow_at_once(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.connect(alice)
    await sender.send({"type": "send", "id": "early", "to": bob, "body": "sent before welcome was read"})
    first = await sender.receive()
    assert first["type"] == "welcome"
    assert (first["user"], first["device"]) == (alice, "phone")
    await sender.expect("sent", id="early", seq=1)
