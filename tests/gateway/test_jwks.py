"""Public keys by URL, from a server over real HTTP: they rotate, and a server at fault takes nothing away."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from chatcore.errors import HandshakeRefused
from gateway.app import GatewayApp
from gateway.jwks import MAX_BYTES, Jwks
from gateway.tokens import Tokens

from tests.gateway.client import Client
from tests.gateway.conftest import MakeGateway
from tests.gateway.test_handshake import get, headers
from tests.gateway.test_tokens import EC, OTHER_RSA, RSA, jwk, signed


class Issuer:
    """An HTTP server with a JWKS that the test rotates."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [jwk("RS256", RSA, "r1")]
        self.status, self.asked = 200, 0
        self.body: bytes | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.server = TestServer(self._app())

    @property
    def url(self) -> str:
        return str(self.server.make_url("/jwks.json"))

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/jwks.json", self._serve)
        return app

    async def _serve(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answering.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(status=self.status, body=body, content_type="application/json")


class Clock:
    """The time that the cool-down is measured by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("gateway.jwks.monotonic", lambda: self.now)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    one = Issuer()
    await one.server.start_server()
    yield one
    one.answering.set()
    await one.server.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def tokens(issuer: Issuer) -> Tokens:
    return Tokens(secret=None, audience="chat", issuer="chat", keys=Jwks(url=issuer.url))


async def refused(tokens: Tokens, token: str) -> bool:
    try:
        await tokens.verify(token)
    except HandshakeRefused:
        return True
    return False


async def test_a_key_that_rotated_in_is_fetched_when_its_id_first_appears(
    tokens: Tokens, issuer: Issuer, clock: Clock
) -> None:
    assert (await tokens.verify(signed("RS256", RSA, "r1"))).user == "alice"
    issuer.keys = [jwk("RS256", RSA, "r1"), jwk("ES256", EC, "e2")]
    clock.now += 11
    assert (await tokens.verify(signed("ES256", EC, "e2"))).user == "alice"
    assert (await tokens.verify(signed("RS256", RSA, "r1"))).user == "alice"
    assert issuer.asked == 2


async def test_a_key_that_was_taken_back_no_longer_passes_after_the_next_reading(
    tokens: Tokens, issuer: Issuer, clock: Clock
) -> None:
    assert not await refused(tokens, signed("RS256", RSA, "r1"))
    issuer.keys = [jwk("RS256", OTHER_RSA, "r2")]
    clock.now += 11
    assert not await refused(tokens, signed("RS256", OTHER_RSA, "r2"))
    assert await refused(tokens, signed("RS256", RSA, "r1"))


async def test_a_flood_of_unknown_key_ids_becomes_one_request(tokens: Tokens, issuer: Issuer, clock: Clock) -> None:
    bad = [signed("RS256", RSA, f"x{number}") for number in range(50)]
    assert all(await asyncio.gather(*(refused(tokens, token) for token in bad)))
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (404, None), (200, b"<html>"), (200, b'{"keys":7}'), (200, b" " * (MAX_BYTES + 1))],
    ids=["an error", "gone", "no JSON", "no keys", "too large"],
)
async def test_the_last_good_keys_stay_when_the_server_is_at_fault(
    tokens: Tokens, issuer: Issuer, clock: Clock, status: int, body: bytes | None
) -> None:
    assert not await refused(tokens, signed("RS256", RSA, "r1"))
    issuer.status, issuer.body = status, body
    clock.now += 11
    assert await refused(tokens, signed("RS256", OTHER_RSA, "r2"))
    assert issuer.asked == 2
    assert not await refused(tokens, signed("RS256", RSA, "r1"))


async def test_a_server_that_does_not_answer_holds_nobody_whose_key_is_known(
    tokens: Tokens, issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await refused(tokens, signed("RS256", RSA, "r1"))
    monkeypatch.setattr("gateway.jwks.FETCH_S", 0.2)
    issuer.answering.clear()
    clock.now += 11
    waiting = asyncio.create_task(refused(tokens, signed("RS256", OTHER_RSA, "r2")))
    assert not await refused(tokens, signed("RS256", RSA, "r1"))
    assert await waiting


async def test_a_gateway_lets_in_by_url_and_follows_the_rotation(
    make_gateway: MakeGateway, issuer: Issuer, clock: Clock
) -> None:
    app: GatewayApp = await make_gateway(jwt_secret=None, jwks_url=issuer.url)
    url = f"http://127.0.0.1:{app.port}/v1/ws"

    async def knock(token: str) -> tuple[int, str]:
        return (await get(url + "?device=d", headers(Authorization=f"Bearer {token}")))[:2]

    assert await knock(signed("RS256", OTHER_RSA, "r2")) == (401, "bad_token")
    issuer.keys = [jwk("RS256", OTHER_RSA, "r2")]
    clock.now += 11
    client = Client(url)
    client._headers = {"Authorization": f"Bearer {signed('RS256', OTHER_RSA, 'r2')}"}
    async with client:
        assert client.welcome["user"] == "alice"
    assert await knock(signed("RS256", RSA, "r1")) == (401, "bad_token")
