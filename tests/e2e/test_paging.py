"""History in both directions, and the list of conversations, page by page."""

import asyncio
from typing import Any

import pytest
from chatctl.verify.connection import EXPECT_TIMEOUT_S, RawConnection
from chatctl.verify.contract import Frame
from chatctl.verify.reading import read_log

from tests.harness.cast import Cast

COUNT = 120


async def _written(cast: Cast) -> tuple[RawConnection, str]:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    for number in range(1, COUNT + 1):
        await sender.send({"type": "send", "id": f"m{number}", "to": bob, "body": f"number {number}"})
    for number in range(1, COUNT + 1):
        await sender.expect("sent", id=f"m{number}", seq=number)
    return sender, bob


async def _history(connection: RawConnection, peer: str, **bounds: Any) -> Frame:
    await connection.send({"type": "history", "ref": "h", "peer": peer, **bounds})
    return await connection.expect("history", ref="h", peer=peer)


def _seqs(page: Frame) -> list[int]:
    return [message["seq"] for message in page["messages"]]


async def test_the_newest_page_comes_without_bounds(cast: Cast) -> None:
    connection, bob = await _written(cast)
    page = await _history(connection, bob)
    assert _seqs(page) == list(range(COUNT - 49, COUNT + 1))
    assert page["more"] is True
    assert page["messages"][-1]["body"] == f"number {COUNT}"


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_paging_back_reaches_the_start_with_each_message_once(cast: Cast, limit: int) -> None:
    connection, bob = await _written(cast)
    seqs: list[int] = []
    page = await _history(connection, bob, limit=limit)
    while True:
        seqs = _seqs(page) + seqs
        if not page["more"]:
            break
        page = await _history(connection, bob, before=seqs[0], limit=limit)
    assert seqs == list(range(1, COUNT + 1))


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_paging_forward_reaches_the_end_with_each_message_once(cast: Cast, limit: int) -> None:
    connection, bob = await _written(cast)
    assert [entry.seq for entry in await read_log(connection, bob, limit=limit)] == list(range(1, COUNT + 1))


async def test_bounds_are_exclusive_and_the_ends_are_empty(cast: Cast) -> None:
    connection, bob = await _written(cast)
    assert _seqs(await _history(connection, bob, before=4)) == [1, 2, 3]
    assert _seqs(await _history(connection, bob, after=COUNT - 2)) == [COUNT - 1, COUNT]
    for bounds in ({"before": 1}, {"before": 0}, {"after": COUNT}, {"after": COUNT + 1000}):
        page = await _history(connection, bob, **bounds)
        assert (page["messages"], page["more"]) == ([], False), bounds


async def test_a_page_of_the_largest_bodies_keeps_to_the_largest_frame(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    for number in range(60):
        await sender.send({"type": "send", "id": f"m{number}", "to": bob, "body": "\u0000" * 2_700 + "x" * 13_000})
        await sender.expect("sent", id=f"m{number}")
    assert len(await read_log(sender, bob)) == 60


async def test_conversations_come_latest_first_in_pages_with_what_is_unread(cast: Cast) -> None:
    bob, authors = cast.user("bob"), [cast.user(f"author-{number}") for number in range(7)]
    reader = await cast.online(bob)
    for number, author in enumerate(authors):
        writer = await cast.online(author)
        for count in range(number + 1):
            await writer.send({"type": "send", "id": f"m{count}", "to": bob, "body": f"{count}"})
            await writer.expect("sent", id=f"m{count}")
        await asyncio.sleep(0.005)  # the order is by milliseconds, and equal ones have none
    items = await _list(reader, limit=3)
    assert [item["peer"] for item in items] == authors[::-1]
    assert [item["unread"] for item in items] == [7, 6, 5, 4, 3, 2, 1]
    assert [item["last"] for item in items] == [7, 6, 5, 4, 3, 2, 1]
    assert items[0]["last_message"]["body"] == "6"
    await reader.send({"type": "read_ack", "peer": authors[6], "seq": 5})
    async with asyncio.timeout(EXPECT_TIMEOUT_S):
        while (latest := (await _list(reader, limit=200))[0])["unread"] != 2:
            await asyncio.sleep(0.02)
    assert latest["read"] == 5


async def _list(connection: RawConnection, *, limit: int) -> list[Frame]:
    items: list[Frame] = []
    cursor: str | None = None
    while True:
        await connection.send({"type": "conversations", "ref": "c", "limit": limit, "cursor": cursor})
        page = await connection.expect("conversations", ref="c")
        items += page["items"]
        assert len(page["items"]) <= limit
        cursor = page["cursor"]
        if cursor is None:
            return items
