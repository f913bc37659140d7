"""Limits are named in `welcome`, and what goes beyond them gets a named error and no harm."""

from chatctl.verify.connection import RawConnection
from chatctl.verify.contract import Frame

from tests.harness.cast import Cast


async def _answers(connection: RawConnection, ids: set[str]) -> dict[str, Frame]:
    answers: dict[str, Frame] = {}
    while ids - answers.keys():
        frame = await connection.receive()
        if frame["type"] == "sent":
            answers[frame["id"]] = frame
        elif frame["type"] == "error":
            answers[str(frame.get("ref"))] = frame
    return answers


async def test_welcome_names_the_limits_of_the_protocol(cast: Cast) -> None:
    connection = await cast.connect(cast.user("alice"))
    limits = (await connection.expect("welcome"))["limits"]
    assert limits["max_frame_bytes"] == 65_536
    assert limits["max_body_bytes"] == 16_384
    assert (limits["sends_per_s"], limits["sends_burst"]) == (100, 1_000)
    assert (limits["max_in_flight"], limits["max_subscriptions"]) == (1_000, 200)
    assert limits["presence_ttl_s"] == 30


async def test_sends_beyond_the_limit_are_refused_by_name_and_may_be_sent_again(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    connection = await cast.online(alice)
    ids = [f"m{number}" for number in range(2_500)]
    for client_id in ids:
        await connection.send({"type": "send", "id": client_id, "to": bob, "body": "x"})
    answers = await _answers(connection, set(ids))
    refused = [client_id for client_id in ids if answers[client_id]["type"] == "error"]
    assert refused, "2,500 sends at once were all taken"
    assert {answers[client_id]["code"] for client_id in refused} <= {"rate_limited", "overloaded"}
    assert all(answers[client_id]["retry_after_ms"] > 0 for client_id in refused)
    assert len(ids) - len(refused) >= 1_000 - 1, "the burst that welcome names was not granted"
    numbers = [answers[client_id]["seq"] for client_id in ids if client_id not in refused]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_acknowledgements_are_never_refused_for_their_rate(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "x"})
    await sender.send({"type": "send", "id": "c2", "to": bob, "body": "x"})
    for seq in (1, 2):
        await recipient.expect("message", seq=seq)
    for _ in range(3_000):
        await recipient.send({"type": "delivery_ack", "peer": alice, "seq": 1})
    await recipient.send({"type": "read_ack", "peer": alice, "seq": 2})
    await sender.expect("receipt", user=bob, delivered=2, read=2)
    assert await recipient.settled() == []


async def test_one_users_flood_does_not_hold_up_another(cast: Cast) -> None:
    mallory, alice, bob = cast.user("mallory"), cast.user("alice"), cast.user("bob")
    flood, sender, recipient = await cast.online(mallory), await cast.online(alice), await cast.online(bob)
    for number in range(3_000):
        await flood.send({"type": "send", "id": f"f{number}", "to": cast.user("victim"), "body": "x" * 500})
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await sender.expect("sent", id="c1", seq=1)
    await recipient.expect("message", peer=alice, seq=1)
