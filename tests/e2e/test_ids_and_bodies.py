"""Ids are compared byte for byte, and bodies come back byte for byte."""

import json

import pytest
from chatctl.verify.history import digest
from chatctl.verify.reading import read_log

from tests.harness.cast import Cast

BODIES = {
    "one byte": "x",
    "four-byte emoji": "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "combining marks apart": "e\u0301",
    "combining marks joined": "\u00e9",
    "NUL": "a\u0000b",
    "only NUL": "\u0000",
    "control characters": "\u0001\t\n\r\u001f\u007f\u0080\u009f",
    "spaces at both ends": "  x  ",
    "only a space": " ",
    "newline at the end": "x\n",
    "quotes and backslashes": "\"\\/'`%s{}$",
    "line separators": "\u2028\u2029",
    "byte order mark": "\ufeffx",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "right to left": "\u202eabc\u202c \u05d0\u05d1",
    "something like a frame": '{"type":"send","id":"x","to":"y","body":"z"}',
    "16,384 bytes": "x" * 16_384,
    "16,384 bytes in four each": "\U0001f600" * 4_096,
    "16,383 bytes in three each": "\u20ac" * 5_461,
    "2,700 NULs": "\u0000" * 2_700,
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_comes_back_byte_for_byte_live_synced_and_as_history(cast: Cast, name: str) -> None:
    body = BODIES[name]
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob, gateway=1)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": body})
    await sender.expect("sent", id="c1")
    assert (await recipient.expect("message", seq=1))["body"] == body
    await recipient.close()
    again = await cast.connect(bob, gateway=0)
    await again.expect("welcome")
    assert [message["body"] for page in await again.sync() for message in page["messages"]] == [body]
    assert [entry.digest for entry in await read_log(sender, bob)] == [digest(body)]
    await sender.send({"type": "conversations", "ref": "c"})
    items = (await sender.expect("conversations", ref="c"))["items"]
    assert items[0]["last_message"]["body"] == body


@pytest.mark.parametrize(
    ("escaped", "body"),
    [
        (r"\u0041", "A"),
        (r"\u00e9", "é"),
        (r"\u20AC", "€"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\uD83D\uDE00", "\U0001f600"),
        (r"\u0000", "\u0000"),
        (r"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (r"\\u0041", r"\u0041"),
        (r"\u005cu0041", r"\u0041"),
    ],
)
async def test_a_body_is_what_its_escapes_mean(cast: Cast, escaped: str, body: str) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    await sender.send_text(f'{{"type":"send","id":"c1","to":"{bob}","body":"{escaped}"}}')
    await sender.expect("sent", id="c1")
    assert (await recipient.expect("message", seq=1))["body"] == body


async def test_a_body_whose_escapes_fill_the_frame_is_taken(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    await sender.send_text(f'{{"type":"send","id":"c1","to":"{bob}","body":"{chr(92)}u0041' + r"\u0041" * 10_000 + '"}')
    await sender.expect("sent", id="c1")
    assert (await recipient.expect("message", seq=1))["body"] == "A" * 10_001


async def test_an_escaped_retry_is_the_same_body(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    frame = {"type": "send", "id": "c1", "to": bob, "body": "é\U0001f600"}
    await sender.send_text(json.dumps(frame, ensure_ascii=True))
    first = await sender.expect("sent", id="c1")
    await sender.send_text(json.dumps(frame, ensure_ascii=False))
    assert await sender.expect("sent", id="c1") == first


async def test_users_that_differ_in_case_are_two(cast: Cast) -> None:
    lower, upper, bob = cast.user("ada"), cast.user("Ada"), cast.user("bob")
    small, large, recipient = await cast.online(lower), await cast.online(upper), await cast.online(bob)
    await small.send({"type": "send", "id": "c1", "to": bob, "body": "from the small one"})
    await small.expect("sent", id="c1", seq=1)
    await large.send({"type": "send", "id": "c1", "to": bob, "body": "from the large one"})
    await large.expect("sent", id="c1", seq=1)
    await recipient.expect("message", peer=lower, body="from the small one")
    await recipient.expect("message", peer=upper, body="from the large one")
    await recipient.send({"type": "send", "id": "c2", "to": lower, "body": "for the small one"})
    await small.expect("message", peer=bob, id="c2")
    assert [frame["type"] for frame in await large.settled()] == []
    assert len(await read_log(large, bob)) == 1


async def test_two_users_that_differ_in_case_may_talk_with_each_other(cast: Cast) -> None:
    lower, upper = cast.user("eve"), cast.user("EVE")
    small, large = await cast.online(lower), await cast.online(upper)
    await small.send({"type": "send", "id": "c1", "to": upper, "body": "hi"})
    await small.expect("sent", id="c1", seq=1)
    await large.expect("message", peer=lower, seq=1)


async def test_devices_and_client_ids_that_differ_in_case_are_two(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    lower, upper = await cast.online(alice, "phone"), await cast.online(alice, "PHONE")
    await lower.send({"type": "send", "id": "abc", "to": bob, "body": "one"})
    await lower.expect("sent", id="abc", seq=1)
    await upper.expect("message", device="phone", seq=1)
    await lower.send({"type": "send", "id": "ABC", "to": bob, "body": "two"})
    await lower.expect("sent", id="ABC", seq=2)


async def test_every_character_that_an_id_may_have_is_taken(cast: Cast) -> None:
    mark = cast.user("x")[-8:]
    odd = f"A.z_0-9@b:c+{mark}"
    bob = (cast.user("bob") + "b" * 64)[:64]
    sender = await cast.online(odd, "A.z_0-9")
    recipient = await cast.online(bob)
    for client_id in ("A_z-0", "a" * 64, "-", "_"):
        await sender.send({"type": "send", "id": client_id, "to": bob, "body": "x"})
        await sender.expect("sent", id=client_id, peer=bob)
        await recipient.expect("message", from_=odd, device="A.z_0-9", id=client_id)
