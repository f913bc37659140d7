"""What a device missed comes with the sync of its next connection: in order, in pages, once, on any gateway."""

import asyncio

import pytest
from chatctl.faults.processes import held
from chatctl.verify.connection import RawConnection
from chatctl.verify.contract import Frame
from chatctl.verify.device import BareDevice
from redis.asyncio import Redis

from tests.harness.cast import Cast
from tests.harness.system import MakeSystem, System

MESSAGES = 200


async def _write(cast: Cast, author: str, reader: str, count: int, *, body: str = "x" * 200) -> None:
    writer = await cast.online(author, "desk")
    for number in range(count):
        await writer.send({"type": "send", "id": f"m{number}", "to": reader, "body": body})
    for number in range(count):
        await writer.expect("sent", id=f"m{number}")
    await writer.close()


def _messages(pages: list[Frame], peer: str) -> list[int]:
    return [message["seq"] for page in pages for message in page["messages"] if message["peer"] == peer]


def _conversations(pages: list[Frame]) -> dict[str, Frame]:
    named = [conversation for page in pages for conversation in page["conversations"]]
    assert len(named) == len({conversation["peer"] for conversation in named}), "a conversation was named twice"
    return {conversation["peer"]: conversation for conversation in named}


async def _sync(cast: Cast, user: str, device: str, *, gateway: int = 0, since: str | None = None) -> list[Frame]:
    connection = await cast.connect(user, device, gateway=gateway, since=since)
    await connection.expect("welcome")
    pages = await connection.sync()
    await connection.close()
    return pages


async def _acknowledge(connection: RawConnection, pages: list[Frame]) -> None:
    for peer, conversation in _conversations(pages).items():
        await connection.send({"type": "delivery_ack", "peer": peer, "seq": conversation["last"]})


async def _meet(cast: Cast, user: str, *devices: str) -> None:
    """Let devices be known before anything happens."""
    for device in devices:
        await _sync(cast, user, device)


async def test_three_conversations_come_in_order_in_pages_once_each_on_whichever_gateway(cast: Cast) -> None:
    bob, authors = cast.user("bob"), [cast.user(name) for name in ("ann", "ben", "cat")]
    await _meet(cast, bob, "phone", "tablet")
    await asyncio.gather(*(_write(cast, author, bob, MESSAGES) for author in authors))
    for device, gateway in (("phone", 0), ("phone", 1), ("tablet", 1)):
        pages = await _sync(cast, bob, device, gateway=gateway)
        assert len(pages) > 1, "600 messages of 200 bytes do not fit one page of 64 KiB"
        assert set(_conversations(pages)) == set(authors)
        for author in authors:
            assert _messages(pages, author) == list(range(1, MESSAGES + 1))
        _assert_named_before_their_messages(pages)


def _assert_named_before_their_messages(pages: list[Frame]) -> None:
    named: set[str] = set()
    for page in pages:
        named |= {conversation["peer"] for conversation in page["conversations"]}
        assert {message["peer"] for message in page["messages"]} <= named


async def test_the_latest_conversation_is_named_first(cast: Cast) -> None:
    bob, authors = cast.user("bob"), [cast.user(name) for name in ("ann", "ben", "cat")]
    for author in authors:
        await _write(cast, author, bob, 1)
        await asyncio.sleep(0.005)  # the order is by milliseconds, and equal ones have none
    assert list(_conversations(await _sync(cast, bob, "phone"))) == authors[::-1]


async def test_what_was_acknowledged_does_not_come_again(cast: Cast) -> None:
    bob, ann = cast.user("bob"), cast.user("ann")
    await _write(cast, ann, bob, 10)
    phone = await cast.connect(bob)
    await phone.expect("welcome")
    assert _messages(await phone.sync(), ann) == list(range(1, 11))
    watcher = await cast.online(ann)
    await phone.send({"type": "delivery_ack", "peer": ann, "seq": 7})
    await watcher.expect("receipt", user=bob, delivered=7)
    await phone.close()
    pages = await _sync(cast, bob, "phone", gateway=1)
    assert _conversations(pages)[ann]["cursor"] == 7
    assert _messages(pages, ann) == [8, 9, 10]


async def test_a_brand_new_device_starts_at_what_no_device_of_the_user_holds(cast: Cast) -> None:
    bob, ann, ben = cast.user("bob"), cast.user("ann"), cast.user("ben")
    await _write(cast, ann, bob, 10)
    phone, watcher = await cast.online(bob), await cast.online(ann)
    await phone.send({"type": "delivery_ack", "peer": ann, "seq": 6})
    await watcher.expect("receipt", user=bob, delivered=6)
    await phone.close()
    pages = await _sync(cast, bob, "new")
    assert _conversations(pages)[ann]["cursor"] == 6
    assert _messages(pages, ann) == [7, 8, 9, 10]
    await _write(cast, ben, bob, 3)
    assert _messages(await _sync(cast, bob, "new"), ben) == [1, 2, 3], "in a later conversation it starts at 0"


async def test_a_known_device_that_was_away_while_a_conversation_began_gets_all_of_it(cast: Cast) -> None:
    bob, ann = cast.user("bob"), cast.user("ann")
    await _meet(cast, bob, "tablet", "phone")
    await _write(cast, ann, bob, 10)
    phone, watcher = await cast.online(bob, "phone"), await cast.online(ann)
    await phone.send({"type": "delivery_ack", "peer": ann, "seq": 10})
    await watcher.expect("receipt", user=bob, delivered=10)
    assert _messages(await _sync(cast, bob, "tablet"), ann) == list(range(1, 11))


async def test_a_sync_without_messages_still_names_every_conversation_and_ends(cast: Cast) -> None:
    pages = await _sync(cast, cast.user("hermit"), "phone")
    assert [(page["conversations"], page["messages"], page["done"]) for page in pages] == [([], [], True)]


async def test_an_old_token_of_a_sync_leaves_out_only_what_did_not_change(cast: Cast) -> None:
    bob, ann, ben = cast.user("bob"), cast.user("ann"), cast.user("ben")
    await _write(cast, ann, bob, 2)
    await _write(cast, ben, bob, 2)
    await _age_members(cast, bob)
    phone, watcher = await cast.connect(bob), await cast.online(ann)
    await phone.expect("welcome")
    await _acknowledge(phone, await phone.sync())
    await watcher.expect("receipt", user=bob, delivered=2)
    await phone.close()
    await _age_members(cast, bob)
    token = (await _sync(cast, bob, "phone"))[-1]["token"]
    unchanged = await _sync(cast, bob, "phone", since=token)
    assert _conversations(unchanged) == {}
    writer = await cast.online(ben, "desk")
    await writer.send({"type": "send", "id": "news", "to": bob, "body": "news"})
    await writer.expect("sent", id="news")
    changed = await _sync(cast, bob, "phone", gateway=1, since=token)
    assert set(_conversations(changed)) == {ben}
    assert _messages(changed, ben) == [3]


async def _age_members(cast: Cast, user: str) -> None:
    """Make all that happened to a user older than the margin that a token keeps."""
    async with cast.system.mysql() as connection:
        cursor = await connection.cursor()
        statement = (
            "UPDATE member SET updated_at = updated_at - 3600000, last_ts = last_ts - 3600000 WHERE user_id = %s"
        )
        await cursor.execute(statement, (user,))
        await connection.commit()


async def test_a_conversation_in_which_the_device_lacks_something_is_named_whatever_the_token(cast: Cast) -> None:
    bob, ann = cast.user("bob"), cast.user("ann")
    await _write(cast, ann, bob, 3)
    await _age_members(cast, bob)
    token = (await _sync(cast, bob, "phone"))[-1]["token"]
    assert _messages(await _sync(cast, bob, "phone", since=token), ann) == [1, 2, 3]


@pytest.mark.parametrize("since", ["", "garbage", "AAAA", "0", "-1", "9" * 40, "%00", "é", "x" * 2000])
async def test_an_unusable_token_of_a_sync_is_ignored(cast: Cast, since: str) -> None:
    bob, ann = cast.user("bob"), cast.user("ann")
    await _write(cast, ann, bob, 2)
    assert _messages(await _sync(cast, bob, "phone", since=since), ann) == [1, 2]


async def test_a_correct_device_ends_complete_however_it_is_paged(cast: Cast) -> None:
    bob, ann = cast.user("bob"), cast.user("ann")
    await _write(cast, ann, bob, 300, body="y" * 3000)
    device = cast.device(bob)
    device.start()
    await device.until(lambda: device.state.peer(ann).cursor == 300, what="not all came")
    again = await _sync(cast, bob, "other")
    assert _messages(again, ann) == [] or _messages(again, ann)[-1] == 300


@pytest.mark.parametrize("reconnects", [False, True])
async def test_a_read_ack_lost_in_a_wiped_redis_is_repeated_and_converges(
    make_stack: MakeSystem, *, reconnects: bool
) -> None:
    system = await make_stack(gateways=2, workers=1, presence=1)
    async with Cast(system) as cast:
        bob, ann = cast.user("bob"), cast.user("ann")
        sender = cast.device(ann)
        reader = cast.device(bob, reads=False)
        sender.start()
        reader.start()
        await sender.synced()
        await reader.synced()
        sender.send(bob, "m1", "hi")
        await sender.until(lambda: sender.state.peer(bob).peer_delivered == 1, what="nothing was delivered")
        await _lose_a_read_ack(system, reader, ann)
        if reconnects:
            await reader.stop()
            reader.start()
        await sender.until(lambda: sender.state.peer(bob).peer_read == 1, what="the read mark never came")


async def _lose_a_read_ack(system: System, reader: BareDevice, peer: str) -> None:
    workers = [process.pid for process in system.processes() if process.role == "worker" and process.pid is not None]
    redis = system.redis()
    try:
        with held(*workers):
            reader.read(peer, 1)
            async with asyncio.timeout(10):
                while not await _backlog(redis):
                    await asyncio.sleep(0.02)
            await redis.flushall()
    finally:
        await redis.aclose()


async def _backlog(redis: Redis) -> int:
    """Count what waits in all partitions' streams: only what is unsettled stands there."""
    keys = [key async for key in redis.scan_iter("*:in:*", count=1000)]
    return sum([await redis.xlen(key) for key in keys])
