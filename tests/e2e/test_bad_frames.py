"""Every malformed, oversized, unknown, unauthorised or early frame gets exactly its answer, and harms nobody else."""

from contextlib import suppress

import aiohttp
import pytest
from chatctl.verify.connection import ConnectionClosed, RawConnection

from tests.e2e.bad_frames import MAX_FRAME_BYTES, TABLE, Bad
from tests.harness.cast import Cast


def test_the_table_has_at_least_sixty_frames_with_names_of_their_own() -> None:
    assert len({bad.name for bad in TABLE}) == len(TABLE) >= 60
    assert all((bad.code is None) != (bad.close is None) for bad in TABLE)


async def _put(connection: RawConnection, bad: Bad, names: dict[str, str]) -> None:
    if isinstance(bad.frame, bytes):
        kind = aiohttp.WSMsgType.BINARY if bad.binary else aiohttp.WSMsgType.TEXT
        await connection.send_bytes(bad.frame, kind)
        return
    text = bad.frame
    for mark, name in names.items():
        text = text.replace(mark, name)
    await connection.send_text(text)


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
async def test_a_bad_frame_gets_exactly_its_answer_and_its_neighbour_never_notices(cast: Cast, bad: Bad) -> None:
    names = {"@PEER@": cast.user("bob"), "@SELF@": cast.user("mallory"), "@STRANGER@": cast.user("stranger")}
    alice, bob, mallory = cast.user("alice"), names["@PEER@"], names["@SELF@"]
    attacker, neighbour = await cast.online(mallory), await cast.online(bob)
    writer = await cast.online(alice)
    await attacker.send({"type": "send", "id": "first", "to": bob, "body": "the conversation's only message"})
    await attacker.expect("sent", id="first", seq=1)
    await neighbour.expect("message", peer=mallory, seq=1)

    await _put(attacker, bad, names)
    if bad.close is not None:
        assert await attacker.expect_closed() == bad.close
    else:
        await _expect_one_error(attacker, bad, bob)

    await writer.send({"type": "send", "id": "after", "to": bob, "body": "still here"})
    await writer.expect("sent", id="after", seq=1)
    await neighbour.expect("message", peer=alice, seq=1)
    assert [frame for frame in await neighbour.settled() if frame.get("id") != "second"] == []


async def _expect_one_error(attacker: RawConnection, bad: Bad, bob: str) -> None:
    error = await attacker.expect("error")
    assert (error["code"], error.get("ref")) == (bad.code, bad.ref)
    if bad.code == "ack_ahead":
        assert error["peer"] in (bob, bob.replace("bob", "stranger"))
    await attacker.send({"type": "send", "id": "second", "to": bob, "body": "the connection stays open"})
    await attacker.expect("sent", id="second", seq=2)
    assert [frame["type"] for frame in await attacker.settled()] == []


async def test_the_largest_frame_allowed_is_answered(cast: Cast) -> None:
    connection = await cast.online(cast.user("alice"))
    await connection.send_text('{"type":"ping"}'.ljust(MAX_FRAME_BYTES))
    await connection.expect("pong")


async def test_fields_that_are_null_are_absent(cast: Cast) -> None:
    connection = await cast.online(cast.user("alice"))
    bob = cast.user("bob")
    ask = {"type": "history", "ref": "h1", "peer": bob, "before": None, "after": None, "limit": None}
    await connection.send(ask)
    assert (await connection.expect("history", ref="h1", peer=bob))["messages"] == []
    await connection.send({"type": "conversations", "ref": "h2", "limit": 50, "cursor": None})
    assert (await connection.expect("conversations", ref="h2"))["items"] == []
    await connection.send({"type": "ping", "ref": None})
    await connection.expect("pong")


async def test_the_twentieth_broken_frame_within_a_minute_closes_with_1008(cast: Cast) -> None:
    alice = cast.user("alice")
    connection = await cast.online(alice)
    frames = ('{"type":"x"}', "{}", f'{{"type":"send","id":"a","to":"{alice}","body":"b"}}')
    for number in range(19):
        await connection.send_text(frames[number % 3])
        await connection.expect("error")
    await connection.send({"type": "ping"})
    await connection.expect("pong")
    await connection.send_text(frames[0])
    assert await connection.expect_closed() == 1008


async def test_refusals_of_other_kinds_are_no_strikes(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    connection = await cast.online(alice)
    for _ in range(30):
        await connection.send({"type": "delivery_ack", "peer": bob, "seq": 9})
        await connection.expect("error", code="ack_ahead", peer=bob)
    await connection.send({"type": "ping"})
    await connection.expect("pong")


async def test_a_user_sees_only_conversations_that_the_user_is_part_of(cast: Cast) -> None:
    alice, bob, eve = cast.user("alice"), cast.user("bob"), cast.user("eve")
    sender, spy = await cast.online(alice), await cast.online(eve)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "between us"})
    await sender.expect("sent", id="c1")
    for peer in (alice, bob):
        await spy.send({"type": "history", "ref": "h", "peer": peer})
        assert (await spy.expect("history", ref="h", peer=peer))["messages"] == []
        await spy.send({"type": "read_ack", "peer": peer, "seq": 1})
        await spy.expect("error", code="ack_ahead", peer=peer)
    await spy.send({"type": "conversations", "ref": "c"})
    assert (await spy.expect("conversations", ref="c"))["items"] == []
    assert await spy.settled() == []


async def test_the_twentieth_frame_at_fault_is_the_last_that_is_answered(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    connection = await cast.online(alice)
    with suppress(ConnectionClosed):
        for number in range(60):
            await connection.send_text('{"type":"frobnicate"}')
            await connection.send({"type": "send", "id": f"m{number}", "to": bob, "body": "x"})
    assert await connection.expect_closed() == 1008
    assert sum(frame["type"] == "error" for frame in connection.frames) == 20
    assert len(await cast.log(alice, bob)) < 20


async def test_a_token_that_expires_beyond_all_calendars_is_forbidden(cast: Cast) -> None:
    connection = await cast.online(cast.user("alice"))
    token = cast.sign(cast.claims(cast.user("alice"), exp=10**30))
    await connection.send({"type": "auth", "ref": "a1", "token": token})
    await connection.expect("error", code="forbidden", ref="a1")
