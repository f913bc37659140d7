"""At-least-once delivery: what no device said that it holds comes again, and nothing is claimed on its behalf."""

from chatctl.verify.reading import read_log

from tests.harness.cast import Cast


async def test_a_device_that_dies_between_the_push_and_its_ack_gets_the_message_again(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob, gateway=1)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    pushed = await recipient.expect("message", seq=1)
    recipient.abort()
    for gateway in (0, 1):
        again = await cast.connect(bob, gateway=gateway)
        await again.expect("welcome")
        messages = [message for page in await again.sync() for message in page["messages"]]
        assert messages == [{name: value for name, value in pushed.items() if name != "type"}]
        again.abort()
    assert [entry.state for entry in await read_log(sender, bob)] == ["created"]
    assert sender.untaken("receipt") == []


async def test_nothing_is_delivered_before_a_device_said_so(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    for number in range(1, 6):
        await sender.send({"type": "send", "id": f"m{number}", "to": bob, "body": "x"})
    await recipient.expect("message", seq=5)
    await sender.settled()
    assert sender.untaken("receipt") == []
    assert {entry.state for entry in await read_log(sender, bob)} == {"created"}
    await recipient.send({"type": "delivery_ack", "peer": alice, "seq": 3})
    await sender.expect("receipt", user=bob, delivered=3, read=0)
    states = [entry.state for entry in await read_log(sender, bob)]
    assert states == ["delivered"] * 3 + ["created"] * 2


async def test_each_device_of_the_recipient_is_owed_the_message_by_itself(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    phone, tablet = await cast.online(bob, "phone"), await cast.online(bob, "tablet", gateway=1)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await phone.expect("message", seq=1)
    await tablet.expect("message", seq=1)
    await phone.send({"type": "delivery_ack", "peer": alice, "seq": 1})
    await sender.expect("receipt", user=bob, delivered=1)
    tablet.abort()
    again = await cast.connect(bob, "tablet")
    await again.expect("welcome")
    assert [message["seq"] for page in await again.sync() for message in page["messages"]] == [1]


async def test_the_senders_other_device_is_owed_the_message_too(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    await (await cast.online(alice, "laptop")).close()
    phone = await cast.online(alice, "phone")
    await phone.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await phone.expect("sent", id="c1")
    laptop = await cast.connect(alice, "laptop", gateway=1)
    await laptop.expect("welcome")
    messages = [message for page in await laptop.sync() for message in page["messages"]]
    assert [(message["peer"], message["from"], message["seq"]) for message in messages] == [(bob, alice, 1)]
