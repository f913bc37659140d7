"""What is refused before the upgrade, with which status and code, and in which order."""

import asyncio
from time import time
from typing import Any

import aiohttp
import pytest
from chatcore.errors import Refusal
from chatcore.stream import Connected, Disconnected
from gateway.app import GatewayApp

from tests.gateway.client import Client, token
from tests.gateway.conftest import MakeGateway
from tests.gateway.worker import Worker

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "Sec-WebSocket-Protocol": "chat.v1",
}


def headers(**changed: str | None) -> dict[str, str]:
    values = {**UPGRADE, "Authorization": f"Bearer {token()}"}
    values |= {name.replace("_", "-"): value for name, value in changed.items() if value is not None}
    for name, value in changed.items():
        if value is None:
            values.pop(name.replace("_", "-"))
    return values


async def get(url: str, values: dict[str, str]) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=values) as response:
        body = await response.json()
        assert set(body["error"]) == {"code", "message"}
        return response.status, body["error"]["code"], response.headers


FAR = 4_102_444_800
"""A time in the year 2100: the table is made long before its last test runs."""

CASES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no upgrade": ("?device=d", {"Upgrade": None}, 426, "not_websocket"),
    "another upgrade": ("?device=d", {"Upgrade": "h2c"}, 426, "not_websocket"),
    "no connection upgrade": ("?device=d", {"Connection": "keep-alive"}, 426, "not_websocket"),
    "an old version": ("?device=d", {"Sec_WebSocket_Version": "8"}, 426, "not_websocket"),
    "no key": ("?device=d", {"Sec_WebSocket_Key": None}, 426, "not_websocket"),
    "a short key": ("?device=d", {"Sec_WebSocket_Key": "YQ=="}, 426, "not_websocket"),
    "no device": ("", {}, 400, "bad_device"),
    "two devices": ("?device=d&device=d", {}, 400, "bad_device"),
    "an empty device": ("?device=", {}, 400, "bad_device"),
    "a device with a space": ("?device=a%20b", {}, 400, "bad_device"),
    "a device with a newline": ("?device=a%0A", {}, 400, "bad_device"),
    "a device with an at": ("?device=a@b", {}, 400, "bad_device"),
    "a long device": ("?device=" + "d" * 65, {}, 400, "bad_device"),
    "no protocol": ("?device=d", {"Sec_WebSocket_Protocol": None}, 400, "bad_version"),
    "another protocol": ("?device=d", {"Sec_WebSocket_Protocol": "chat.v2"}, 400, "bad_version"),
    "no token": ("?device=d", {"Authorization": None}, 401, "no_token"),
    "another scheme": ("?device=d", {"Authorization": "Basic YTpi"}, 401, "no_token"),
    "an empty token": ("?device=d", {"Authorization": "Bearer "}, 401, "no_token"),
    "a token in the URL": (f"?device=d&token={token()}", {"Authorization": None}, 401, "no_token"),
    "a bad token": ("?device=d", {"Authorization": "Bearer x"}, 401, "bad_token"),
    "a bad token that is long": ("?device=d", {"Authorization": "Bearer " + "x" * 16_384}, 401, "bad_token"),
    "a long cookie, and a bad token": (
        "?device=d",
        {"Authorization": "Bearer x", "Cookie": "a=" + "x" * 9_000},
        401,
        "bad_token",
    ),
    "an expired token": ("?device=d", {"Authorization": f"Bearer {token(exp=1)}"}, 401, "expired_token"),
    "a strange origin": ("?device=d", {"Origin": "http://evil.example"}, 403, "bad_origin"),
    "an opaque origin": ("?device=d", {"Origin": "null"}, 403, "bad_origin"),
    "an origin on a port of another scheme": (
        "?device=d",
        {"Host": "chat.example:443", "Origin": "http://chat.example"},
        403,
        "bad_origin",
    ),
    "an origin on another port": (
        "?device=d",
        {"Host": "chat.example", "Origin": "http://chat.example:8080"},
        403,
        "bad_origin",
    ),
    "another device": ("?device=d", {"Authorization": f"Bearer {token(device='e', exp=FAR)}"}, 403, "wrong_device"),
    "device before version": ("", {"Sec_WebSocket_Protocol": None}, 400, "bad_device"),
    "version before token": ("?device=d", {"Sec_WebSocket_Protocol": "x", "Authorization": None}, 400, "bad_version"),
    "token before origin": ("?device=d", {"Authorization": None, "Origin": "http://evil.example"}, 401, "no_token"),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_handshake_at_fault_is_refused_by_its_first_fault(url: str, name: str) -> None:
    query, changed, status, code = CASES[name]
    got = await get(url + query, headers(**changed))
    assert got[:2] == (status, code)


async def test_another_path_is_not_found_and_another_method_is_no_handshake(url: str) -> None:
    assert (await get(url.replace("/v1/ws", "/v2/x"), {}))[:2] == (404, "not_found")
    async with aiohttp.ClientSession() as session, session.post(url) as response:
        assert response.status == 426


async def test_a_token_may_come_as_a_subprotocol_and_is_not_answered(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(url + "?device=d", protocols=("chat.v1", f"bearer.{token('bob')}"))
        assert ws.protocol == "chat.v1"
        assert (await ws.receive_json())["user"] == "bob"
        await ws.close()


async def test_own_and_listed_origins_pass(make_gateway: MakeGateway) -> None:
    app = await make_gateway(origins=("https://chat.example",))
    for origin in ("https://chat.example", f"http://127.0.0.1:{app.port}"):
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{app.port}/v1/ws?device=d"
            ws = await session.ws_connect(url, headers={**headers(), "Origin": origin}, protocols=("chat.v1",))
            await ws.close()


OWN = [
    ("chat.example:80", "http://chat.example"),
    ("chat.example:443", "https://chat.example"),
    ("chat.example", "http://chat.example:80"),
    ("chat.example", "https://chat.example:443"),
    ("Chat.Example", "https://chat.example"),
    ("[::1]:443", "https://[::1]"),
]


@pytest.mark.parametrize(("host", "origin"), OWN)
async def test_the_own_host_is_the_same_with_and_without_its_schemes_port(url: str, host: str, origin: str) -> None:
    async with aiohttp.ClientSession() as session:
        values = {**headers(), "Host": host, "Origin": origin}
        ws = await session.ws_connect(url + "?device=d", headers=values, protocols=("chat.v1",))
        await ws.close()


async def test_a_since_that_no_server_made_is_passed_over_however_long(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(url + "?device=d&since=" + "a" * 9_000, headers=headers(), protocols=("chat.v1",))
        assert (await ws.receive_json())["type"] == "welcome"
        await ws.close()


async def test_welcome_is_first_and_names_the_limits(url: str) -> None:
    async with Client(url) as client:
        welcome = client.welcome
        assert (welcome["user"], welcome["device"], welcome["gateway"]) == ("alice", "phone", "gateway-1")
        assert welcome["epoch"] == "e1"
        assert abs(welcome["ts"] / 1000 - time()) < 60
        assert welcome["limits"] == {
            "max_frame_bytes": 65_536,
            "max_body_bytes": 16_384,
            "sends_per_s": 100,
            "sends_burst": 1_000,
            "max_in_flight": 1_000,
            "max_subscriptions": 200,
            "presence_ttl_s": 30,
        }
        assert (await client.frame())["type"] == "sync"


@pytest.mark.parametrize("refusal", [Refusal.REVOKED, Refusal.TOO_MANY_DEVICES])
async def test_what_a_worker_refuses_gets_403_and_leaves_no_member(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, refusal: Refusal
) -> None:
    worker.refusal = refusal
    assert (await get(url + "?device=d", headers()))[:2] == (403, refusal.value)
    await worker.until(lambda: any(isinstance(event, Disconnected) for event in worker.presence))
    assert await redis.exists(gateway.keys.devices("alice")) == 0
    assert gateway.registry.by_number == {}


async def test_without_an_answer_the_client_is_asked_to_come_again(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.door.ADMISSION_S", 0.3)
    worker.admitting = False
    status, code, answer = await get(url + "?device=d", headers())
    assert (status, code) == (503, "not_ready")
    assert int(answer["Retry-After"]) >= 1
    await worker.until(lambda: any(isinstance(event, Disconnected) for event in worker.presence))
    assert await redis.exists(gateway.keys.devices("alice")) == 0


async def test_the_member_stands_before_the_sync_is_asked_and_goes_when_the_client_goes(
    gateway: GatewayApp, url: str, worker: Worker, redis: Any
) -> None:
    async with Client(url, query="&since=old"):
        (request,) = worker.syncs("alice")
        ((member, _),) = await redis.zrange(gateway.keys.devices("alice"), 0, -1, withscores=True)
        assert member.decode() == f"phone|{gateway.gateway_id}|{request.connection}|{request.entered_ms}"
        assert request.since == "old"
    await worker.until(lambda: len(worker.presence) == 2)
    assert await redis.exists(gateway.keys.devices("alice")) == 0
    assert worker.presence == [Connected("alice", member.decode()), Disconnected("alice", member.decode())]


async def test_limits_of_handshakes_name_when_to_come_again(make_gateway: MakeGateway) -> None:
    for limits in ({"max_connections": 1}, {"connections_per_user": 1}, {"user_handshakes_per_s": 0.1}):
        app = await make_gateway(**limits)
        url = f"http://127.0.0.1:{app.port}/v1/ws"
        async with Client(url):
            status, code, answer = await get(url + "?device=d", headers())
            assert (status, code) == (429, "too_many_connections")
            assert int(answer["Retry-After"]) >= 1


async def test_past_the_bound_of_those_who_wait_a_handshake_is_refused_at_once(
    make_gateway: MakeGateway, worker: Worker
) -> None:
    app = await make_gateway(max_admissions=1)
    url = f"http://127.0.0.1:{app.port}/v1/ws?device=d"
    worker.admitting = False
    waiting = asyncio.create_task(get(url, headers()))
    await worker.until(lambda: bool(worker.presence))
    assert (await get(url, headers()))[:2] == (429, "too_many_connections")
    waiting.cancel()


async def test_a_draining_gateway_lets_nobody_in(gateway: GatewayApp, url: str) -> None:
    gateway.drain.draining = True
    status, code, answer = await get(url + "?device=d", headers())
    assert (status, code) == (503, "draining")
    assert "Retry-After" in answer


async def test_a_gateway_that_is_cut_off_lets_nobody_in(gateway: GatewayApp, url: str) -> None:
    gateway.watch.subscribed = False
    assert (await get(url + "?device=d", headers()))[:2] == (503, "not_ready")
