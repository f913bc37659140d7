"""Every frame at fault gets exactly its error, and the connection stays; good ones go where they belong."""

import asyncio
import json
from time import monotonic, time
from typing import Any

import aiohttp
import orjson
import pytest
from chatcore.errors import Close
from chatcore.push import Kind, close_payload, presence_payload, record
from chatcore.stream import (
    AckEvent,
    ConversationsRequest,
    Heartbeats,
    HistoryRequest,
    Subscribed,
    TypingSeen,
    Unsubscribed,
)
from gateway.app import GatewayApp
from gateway.registry import SHARES
from gateway.sweeper import BEAT_AFTER, TELL_AFTER

from tests.gateway.client import Client, token
from tests.gateway.conftest import MakeGateway
from tests.gateway.waiting import until
from tests.gateway.worker import Worker

SEND = {"type": "send", "id": "c1", "to": "bob", "body": "hi"}

FAULTS: dict[str, tuple[str, str, str | None]] = {
    "not JSON": ("{", "invalid_frame", None),
    "empty": ("", "invalid_frame", None),
    "an array": ("[]", "invalid_frame", None),
    "a string": ('"x"', "invalid_frame", None),
    "null": ("null", "invalid_frame", None),
    "no type": ('{"ref":"r"}', "invalid_frame", "r"),
    "a type that is a number": ('{"type":1,"ref":"r"}', "invalid_frame", "r"),
    "an unknown type": ('{"type":"nope","ref":"r"}', "unknown_type", "r"),
    "a server's type": ('{"type":"welcome","ref":"r"}', "unknown_type", "r"),
    "a key twice": ('{"type":"ping","ref":"r","ref":"r"}', "invalid_frame", "r"),
    "a lone surrogate": ('{"type":"send","id":"c1","to":"bob","body":"\\ud800"}', "invalid_frame", "c1"),
    "an unknown field": ('{"type":"ping","ref":"r","x":1}', "invalid_frame", "r"),
    "a float": ('{"type":"delivery_ack","peer":"bob","seq":1.0,"ref":"r"}', "invalid_frame", "r"),
    "a bool": ('{"type":"delivery_ack","peer":"bob","seq":true,"ref":"r"}', "invalid_frame", "r"),
    "a negative number": ('{"type":"read_ack","peer":"bob","seq":-1,"ref":"r"}', "invalid_frame", "r"),
    "NaN": ('{"type":"read_ack","peer":"bob","seq":NaN,"ref":"r"}', "invalid_frame", "r"),
    "a bad ref": ('{"type":"ping","ref":"a b"}', "invalid_frame", None),
    "no id": (json.dumps({**SEND, "id": None}), "invalid_frame", None),
    "an id with a space": (json.dumps({**SEND, "id": "c 1"}), "invalid_frame", None),
    "a long id": (json.dumps({**SEND, "id": "c" * 65}), "invalid_frame", None),
    "an id with a newline": (json.dumps({**SEND, "id": "c\n"}), "invalid_frame", None),
    "no body": (json.dumps({**SEND, "body": None}), "invalid_frame", "c1"),
    "an empty body": (json.dumps({**SEND, "body": ""}), "invalid_frame", "c1"),
    "a body that is an object": (json.dumps({**SEND, "body": {}}), "invalid_frame", "c1"),
    "a body too long": (json.dumps({**SEND, "body": "x" * 16_385}), "too_large", "c1"),
    "a body too long in bytes": (json.dumps({**SEND, "body": "é" * 8_193}), "too_large", "c1"),
    "a peer with a trailing space": (json.dumps({**SEND, "to": "bob "}), "invalid_recipient", "c1"),
    "a long peer": (json.dumps({**SEND, "to": "b" * 65}), "invalid_recipient", "c1"),
    "an empty peer": (json.dumps({**SEND, "to": ""}), "invalid_recipient", "c1"),
    "oneself": (json.dumps({**SEND, "to": "alice"}), "invalid_recipient", "c1"),
    "typing to oneself": ('{"type":"typing","to":"alice","ref":"r"}', "invalid_recipient", "r"),
    "an ack of oneself": ('{"type":"delivery_ack","peer":"alice","seq":1,"ref":"r"}', "invalid_recipient", "r"),
    "history of oneself": ('{"type":"history","peer":"alice","ref":"r"}', "invalid_recipient", "r"),
    "history both ways": ('{"type":"history","peer":"bob","before":1,"after":1,"ref":"r"}', "invalid_frame", "r"),
    "a limit of 0": ('{"type":"history","peer":"bob","limit":0,"ref":"r"}', "invalid_frame", "r"),
    "a limit of 201": ('{"type":"conversations","limit":201,"ref":"r"}', "invalid_frame", "r"),
    "no users": ('{"type":"presence_subscribe","users":[],"ref":"r"}', "invalid_frame", "r"),
    "a bad user": ('{"type":"presence_subscribe","users":["a b"],"ref":"r"}', "invalid_recipient", "r"),
    "a bad token": ('{"type":"auth","token":"x","ref":"r"}', "forbidden", "r"),
    "another's token": (json.dumps({"type": "auth", "token": token("bob"), "ref": "r"}), "forbidden", "r"),
    "a token of another device": (
        json.dumps({"type": "auth", "token": token(device="other"), "ref": "r"}),
        "forbidden",
        "r",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_frame_at_fault_gets_its_error_and_the_connection_stays(url: str, name: str) -> None:
    raw, code, ref = FAULTS[name]
    async with Client(url) as client:
        await client.ws.send_str(raw)
        error = await client.until("error")
        assert (error["code"], error.get("ref")) == (code, ref)
        assert "retry_after_ms" not in error
        await client.send(type="ping")
        assert await client.frame() == {"type": "pong"}


async def test_a_binary_frame_is_invalid(url: str) -> None:
    async with Client(url) as client:
        await client.ws.send_bytes(b"{}")
        assert (await client.until("error"))["code"] == "invalid_frame"


async def test_a_frame_of_64_kib_passes_and_one_byte_more_closes(url: str) -> None:
    ping = '{"type":"ping"}'
    async with Client(url) as client, Client(url, "bob") as beside:
        await client.ws.send_str(" " * (65_536 - len(ping)) + ping)
        assert await client.until("pong")
        await client.ws.send_str(" " * (65_537 - len(ping)) + ping)
        assert await client.closed() == Close.TOO_LARGE
        await beside.send(type="ping")
        assert await beside.until("pong")


@pytest.mark.parametrize("size", [70_000, 1_000_000, 16_000_000])
async def test_a_client_that_still_sends_hears_why_its_frame_is_too_large(url: str, size: int) -> None:
    async with Client(url) as client:
        await client.ws.send_str(" " * size)
        assert await client.closed() == Close.TOO_LARGE


async def test_invalid_utf_8_closes(url: str) -> None:
    async with Client(url) as client:
        await client.ws.send_frame(b'{"type":"ping","ref":"\xff"}', aiohttp.WSMsgType.TEXT)
        assert await client.closed() == Close.INVALID_UTF8


async def test_the_20th_fault_is_answered_and_closes(url: str) -> None:
    async with Client(url) as client:
        for _ in range(20):
            await client.ws.send_str("{")
        for _ in range(20):
            assert (await client.until("error"))["code"] == "invalid_frame"
        assert await client.closed() == Close.POLICY


async def test_a_send_reaches_the_stream_byte_for_byte_and_its_answer_the_client(url: str, worker: Worker) -> None:
    body = "\u0000 \U0001f600 e\u0301 \u202e" + "x" * 100
    async with Client(url) as client:
        await client.send(type="send", id="c1", to="Bob", body=body)
        assert (await client.until("sent"))["id"] == "c1"
    (event,) = worker.sends()
    assert (event.peer, event.client_id, event.body, event.origin.user, event.origin.device) == (
        "Bob",
        "c1",
        body,
        "alice",
        "phone",
    )


async def test_sends_of_a_connection_keep_their_order(url: str, worker: Worker) -> None:
    async with Client(url) as client:
        for number in range(300):
            await client.send(type="send", id=f"c{number}", to="bob", body="x")
        await worker.until(lambda: len(worker.sends()) == 300)
    assert [event.client_id for event in worker.sends()] == [f"c{n}" for n in range(300)]


async def test_a_send_whose_client_left_at_once_is_still_forwarded(url: str, worker: Worker) -> None:
    async with Client(url) as client:
        await client.send(type="send", id="c1", to="bob", body="x")
    await worker.until(worker.sends)


async def test_acknowledgements_are_forwarded_with_their_marks(url: str, worker: Worker) -> None:
    async with Client(url) as client:
        await client.send(type="delivery_ack", peer="bob", seq=4)
        await worker.until(worker.acks)
        await client.send(type="read_ack", peer="bob", seq=3, ref="r")
        await worker.until(lambda: len(worker.acks()) == 2)
    marks = [(event.peer, event.delivered, event.read, event.ref) for event in worker.acks()]
    assert marks == [("bob", 4, 0, None), ("bob", 3, 3, "r")]
    assert all(isinstance(event, AckEvent) for event in worker.acks())


async def test_requests_go_to_a_worker_as_they_were_asked(url: str, worker: Worker) -> None:
    async with Client(url) as client:
        await client.send(type="history", peer="bob", before=9, ref="h")
        await client.send(type="conversations", limit=7, cursor="c", ref="l")
        await worker.until(lambda: len(worker.requests) == 3)
    history, listing = worker.requests[1:]
    assert isinstance(history, HistoryRequest)
    assert (history.peer, history.before, history.after, history.limit, history.ref) == ("bob", 9, None, 50, "h")
    assert isinstance(listing, ConversationsRequest)
    assert (listing.limit, listing.cursor, listing.ref, listing.device) == (7, "c", "l", "phone")


async def test_sends_beyond_the_rate_are_told_when_to_come_again_and_acks_never(
    make_gateway: MakeGateway, worker: Worker
) -> None:
    app = await make_gateway(sends_per_s=1, sends_burst=2)
    async with Client(f"http://127.0.0.1:{app.port}/v1/ws") as client:
        for number in range(3):
            await client.send(type="send", id=f"c{number}", to="bob", body="x")
        error = await client.until("error")
        assert (error["code"], error["ref"]) == ("rate_limited", "c2")
        assert 0 < error["retry_after_ms"] <= 1001
        for seq in range(1, 200):
            await client.send(type="delivery_ack", peer="bob", seq=seq)
        await worker.until(lambda: worker.acks() and worker.acks()[-1].delivered == 199)


async def test_sends_without_an_answer_are_limited_until_one_comes(make_gateway: MakeGateway, worker: Worker) -> None:
    app = await make_gateway(max_in_flight=2)
    worker.answering = False
    async with Client(f"http://127.0.0.1:{app.port}/v1/ws") as client:
        for number in range(3):
            await client.send(type="send", id=f"c{number}", to="bob", body="x")
        error = await client.until("error")
        assert (error["code"], error["ref"], error["retry_after_ms"]) == ("overloaded", "c2", 1000)
        await worker.until(lambda: len(worker.sends()) == 2)
        worker.answering = True
        await worker.tell(app.gateway_id, Kind.ANSWER, 1, b'{"type":"sent","id":"c0"}')
        await client.until("sent")
        await client.send(type="send", id="c2", to="bob", body="x")
        assert (await client.until("sent"))["id"] == "c2"


async def test_a_full_stream_refuses_sends_and_holds_acknowledgements(
    gateway: GatewayApp, url: str, worker: Worker
) -> None:
    async with Client(url) as client:
        gateway.outbox.limit(frozenset(range(4)))
        await client.send(type="send", id="c1", to="bob", body="x")
        await client.send(type="delivery_ack", peer="bob", seq=4)
        error = await client.until("error")
        assert (error["code"], error["ref"]) == ("overloaded", "c1")
        # The watch looks at the real lengths again within a second.
        await worker.until(worker.acks)
        await client.send(type="send", id="c1", to="bob", body="x")
        await client.until("sent")


async def test_the_length_of_the_streams_is_watched(make_gateway: MakeGateway, worker: Worker, redis: Any) -> None:
    app = await make_gateway(max_backlog_entries=1)
    async with Client(f"http://127.0.0.1:{app.port}/v1/ws") as client:
        for partition in range(4):
            for _ in range(2):
                await redis.xadd(app.keys.inbox(partition), {"f": b'["g",1,[]]'})
        await worker.until(lambda: app.outbox._overfull)
        await client.send(type="send", id="c1", to="bob", body="x")
        assert (await client.until("error"))["code"] == "overloaded"


async def test_presence_is_told_to_subscribers_alone_and_until_they_unsubscribe(
    gateway: GatewayApp, url: str, worker: Worker
) -> None:
    frame = orjson.dumps({"type": "presence", "user": "bob", "online": True, "last_seen": None})
    async with Client(url) as client, Client(url, "carol") as other:
        await client.send(type="presence_subscribe", users=["bob", "bob", "dave"], ref="r")
        await worker.until(lambda: sum(isinstance(e, Subscribed) for e in worker.presence) == 2)
        told = [e for e in worker.presence if isinstance(e, Subscribed)]
        assert [(e.user, e.connection, e.ref) for e in told] == [("bob", 1, "r"), ("dave", 1, "r")]
        await worker.tell(gateway.gateway_id, Kind.PRESENCE, 0, presence_payload("bob", frame))
        assert (await client.until("presence"))["user"] == "bob"
        await client.send(type="presence_unsubscribe", users=["bob"])
        await worker.until(lambda: Unsubscribed("bob", gateway.gateway_id) in worker.presence)
        await worker.tell(gateway.gateway_id, Kind.PRESENCE, 0, presence_payload("bob", frame))
        for one in (client, other):
            await one.send(type="ping")
            assert (await one.until("pong")) == {"type": "pong"}
    await worker.until(lambda: Unsubscribed("dave", gateway.gateway_id) in worker.presence)


def presence(user: str, online: bool, **more: str) -> bytes:
    last_seen = None if online else 7
    return orjson.dumps({"type": "presence", "user": user, "online": online, "last_seen": last_seen, **more})


async def test_presence_that_says_nothing_new_is_not_told_again(gateway: GatewayApp, url: str, worker: Worker) -> None:
    """What is told is compared with what this connection heard last, in answers as well."""

    async def announce(online: bool) -> None:
        await worker.tell(gateway.gateway_id, Kind.PRESENCE, 0, presence_payload("bob", presence("bob", online)))

    async with Client(url) as client, Client(url, "carol") as other:
        for one in (client, other):
            await one.send(type="presence_subscribe", users=["bob"])
        await worker.until(lambda: sum(isinstance(e, Subscribed) for e in worker.presence) == 2)
        await worker.tell(gateway.gateway_id, Kind.FRAME, 1, presence("bob", online=False))
        for online in (False, False, True, True):
            await announce(online)
        await worker.tell(gateway.gateway_id, Kind.FRAME, 1, presence("bob", online=False, ref="r"))
        for online in (True, True):
            await announce(online)
        for number in (1, 2):
            await worker.tell(gateway.gateway_id, Kind.FRAME, number, b'{"type":"end"}')
        assert [(await client.until("presence"))["online"] for _ in range(4)] == [False, True, False, True]
        assert await client.frame() == {"type": "end"}
        assert [(await other.until("presence"))["online"] for _ in range(2)] == [False, True]
        assert await other.frame() == {"type": "end"}


async def test_subscriptions_past_the_limit_are_overloaded(make_gateway: MakeGateway) -> None:
    app = await make_gateway(max_subscriptions=2)
    async with Client(f"http://127.0.0.1:{app.port}/v1/ws") as client:
        await client.send(type="presence_subscribe", users=["a", "b"])
        await client.send(type="presence_subscribe", users=["b", "a"])
        await client.send(type="presence_subscribe", users=["c"], ref="r")
        error = await client.until("error")
        assert (error["code"], error["ref"]) == ("overloaded", "r")
        assert error["retry_after_ms"] > 0


async def test_typing_is_told_to_presence(url: str, worker: Worker) -> None:
    async with Client(url) as client:
        await client.send(type="typing", to="bob")
        await worker.until(lambda: TypingSeen("alice", "bob") in worker.presence)


async def test_a_newer_token_extends_and_an_expired_one_closes(gateway: GatewayApp, url: str) -> None:
    async with Client(url) as client, Client(url, "bob") as other:
        expires = int(time()) + 3600
        await client.send(type="auth", token=token(exp=expires), ref="a")
        assert await client.until("auth_ok") == {"type": "auth_ok", "expires_at": expires * 1000, "ref": "a"}
        for _ in range(SHARES):
            gateway.sweeper.sweep(now=0.0, wall_s=time() + 1000)
        assert await other.closed() == Close.TOKEN_EXPIRED
        await client.send(type="ping")
        assert await client.until("pong")


async def test_a_silent_connection_is_aborted_and_a_pong_is_a_sign_of_life(gateway: GatewayApp, url: str) -> None:
    async with Client(url) as client:
        (connection,) = gateway.registry.by_number.values()
        connection.heard_at -= 59
        await client.ws.pong()
        await until(lambda: connection.heard_at > monotonic() - 59)
        for now in (connection.heard_at + 59, connection.heard_at + 61):
            await client.send(type="ping")
            await client.until("pong")
            for _ in range(SHARES):
                gateway.sweeper.sweep(now=now, wall_s=0)
        assert await client.closed() == 1006


async def test_every_connection_is_pinged_and_beats_in_its_turn(gateway: GatewayApp, url: str, worker: Worker) -> None:
    async with Client(url) as client:
        (connection,) = gateway.registry.by_number.values()
        connection.heard_at -= 7
        for _ in range(SHARES + BEAT_AFTER + TELL_AFTER):
            gateway.sweeper.sweep(now=monotonic(), wall_s=0.0)
        while (await client.ws.receive(timeout=5)).type is not aiohttp.WSMsgType.PING:
            pass
        beats = await until(lambda: [event for event in worker.presence if isinstance(event, Heartbeats)])
        assert beats[0] == Heartbeats([["alice", connection.member]], 7000)  # type: ignore[list-item]  # as JSON has it


async def test_a_clients_ping_is_answered_with_its_payload(url: str) -> None:
    async with Client(url) as client:
        await client.ws.ping(b"x")
        async with asyncio.timeout(5):
            while (message := await client.ws.receive()).type is not aiohttp.WSMsgType.PONG:
                pass
        assert message.data == b"x"


async def test_a_worker_may_close_a_connection(gateway: GatewayApp, url: str, worker: Worker) -> None:
    async with Client(url) as client:
        payload = close_payload(Close.REPLACED, "replaced")
        await worker.tell(gateway.gateway_id, Kind.CLOSE, 1, payload)
        assert await client.closed() == Close.REPLACED


async def test_a_record_of_a_kind_that_is_not_known_yet_is_left_out(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    async with Client(url) as client:
        number = worker.syncs("alice")[-1].connection
        unknown = bytes((max(Kind) + 1,)) + record(Kind.FRAME, number, b"{}")[1:]
        told = record(Kind.FRAME, number, b'{"type":"told"}')
        await redis.publish(gateway.keys.channel(gateway.gateway_id), unknown + told)
        assert await client.until("told")


async def test_a_damaged_publication_harms_nobody(gateway: GatewayApp, url: str, worker: Worker, redis: Any) -> None:
    async with Client(url) as client:
        for damaged in (b"x", b"\x03" + b"\0" * 7):
            await redis.publish(gateway.keys.channel(gateway.gateway_id), damaged)
        for kind in set(Kind) - {Kind.LEAVE}:
            await worker.tell(gateway.gateway_id, kind, 999, b"")
        await worker.tell(gateway.gateway_id, Kind.PAGE, 1, b"")
        await client.send(type="ping")
        assert await client.until("pong")


async def test_typing_that_finds_no_room_is_counted_and_has_no_answer(
    gateway: GatewayApp, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        with monkeypatch.context() as patched:
            patched.setattr("gateway.turn.MAX_SOFT", 0)
            await client.send(type="typing", to="bob")
            await client.send(type="ping")
            assert (await client.frame())["type"] == "pong"
    assert gateway.metrics.typing_dropped.counts == {"full": 1, "stale": 0}


async def test_typing_that_redis_did_not_take_is_counted_and_not_told_late(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    async with Client(url) as client:
        await client.until("sync")
        await redis.config_set("maxmemory", "1")
        try:
            await client.send(type="typing", to="bob")
            await worker.until(lambda: gateway.metrics.typing_dropped.counts["stale"] == 1)
        finally:
            await redis.config_set("maxmemory", "0")
    await gateway.outbox.flushed()
    assert not [event for event in worker.presence if isinstance(event, TypingSeen)]
