"""Who may not connect is refused before the upgrade, with the status and the code that PROTOCOL names."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from tests.harness.cast import Cast
from tests.harness.handshake import Answer, handshake
from tests.harness.system import MakeSystem

TARGET = "/v1/ws?device=phone"


@dataclass(frozen=True)
class Wrong:
    name: str
    status: int
    code: str
    target: str = TARGET
    headers: dict[str, str | None] = field(default_factory=dict)
    signed: bool = True
    method: str = "GET"


HANDSHAKES = [
    Wrong("no upgrade", 426, "", headers={"Upgrade": None, "Connection": "close"}),
    Wrong(
        "no upgrade and nothing else right", 426, "", "/v1/ws", {"Upgrade": None, "Connection": "close"}, signed=False
    ),
    Wrong("a POST", 426, "not_websocket", method="POST"),
    Wrong("an older version of WebSocket", 426, "not_websocket", headers={"Sec-WebSocket-Version": "8"}),
    Wrong("no key", 426, "not_websocket", headers={"Sec-WebSocket-Key": None}),
    Wrong("no device", 400, "bad_device", "/v1/ws"),
    Wrong("an empty device", 400, "bad_device", "/v1/ws?device="),
    Wrong("two devices", 400, "bad_device", "/v1/ws?device=a&device=b"),
    Wrong("the same device twice", 400, "bad_device", "/v1/ws?device=a&device=a"),
    Wrong("a device with a space", 400, "bad_device", "/v1/ws?device=a%20b"),
    Wrong("a device with a newline at its end", 400, "bad_device", "/v1/ws?device=a%0A"),
    Wrong("a device with a NUL", 400, "bad_device", "/v1/ws?device=a%00"),
    Wrong("a device that is not UTF-8", 400, "bad_device", "/v1/ws?device=a%ff"),
    Wrong("a device with an at sign", 400, "bad_device", "/v1/ws?device=a@b"),
    Wrong("a device of 65", 400, "bad_device", "/v1/ws?device=" + "a" * 65),
    Wrong("a device with an accent", 400, "bad_device", "/v1/ws?device=%C3%A9"),
    Wrong("no subprotocol", 400, "bad_version", headers={"Sec-WebSocket-Protocol": None}),
    Wrong("a version of the future", 400, "bad_version", headers={"Sec-WebSocket-Protocol": "chat.v2"}),
    Wrong("a subprotocol in capitals", 400, "bad_version", headers={"Sec-WebSocket-Protocol": "CHAT.V1"}),
    Wrong("no token", 401, "no_token", signed=False),
    Wrong("a token in the URL", 401, "no_token", TARGET + "&token=x", signed=False),
    Wrong("another scheme", 401, "no_token", headers={"Authorization": "Basic YTpi"}, signed=False),
    Wrong("an empty bearer", 401, "no_token", headers={"Authorization": "Bearer "}, signed=False),
    Wrong("garbage", 401, "bad_token", headers={"Authorization": "Bearer garbage"}, signed=False),
    Wrong("three parts of garbage", 401, "bad_token", headers={"Authorization": "Bearer a.b.c"}, signed=False),
    Wrong("a foreign origin", 403, "bad_origin", headers={"Origin": "https://evil.example"}),
    Wrong("the null origin", 403, "bad_origin", headers={"Origin": "null"}),
    Wrong("an origin that only begins like it", 403, "bad_origin", headers={"Origin": "http://127.0.0.1.evil.example"}),
    Wrong("an empty origin", 403, "bad_origin", headers={"Origin": ""}),
    Wrong(
        "the own host with another scheme",
        403,
        "bad_origin",
        headers={"Host": "a.example", "Origin": "file://a.example"},
    ),
    Wrong(
        "the own host at another port", 403, "bad_origin", headers={"Host": "a.example", "Origin": "http://a.example:8"}
    ),
    Wrong("no version but a bearer", 400, "bad_version", headers={"Sec-WebSocket-Protocol": "bearer.x"}, signed=False),
    Wrong("a device before a token", 400, "bad_device", "/v1/ws", signed=False),
    Wrong("a version before a token", 400, "bad_version", TARGET, {"Sec-WebSocket-Protocol": "x"}, signed=False),
    Wrong("a token before an origin", 401, "no_token", headers={"Origin": "https://evil.example"}, signed=False),
]


@pytest.mark.parametrize("wrong", HANDSHAKES, ids=[wrong.name for wrong in HANDSHAKES])
async def test_a_bad_handshake_gets_its_status_and_code(cast: Cast, wrong: Wrong) -> None:
    headers = dict(wrong.headers)
    if wrong.signed:
        headers["Authorization"] = f"Bearer {cast.system.token(cast.user('alice'))}"
    answer = await handshake(cast.gateway(0), wrong.target, headers, method=wrong.method)
    assert answer.status == wrong.status, answer
    if wrong.code:
        assert answer.code == wrong.code


def _unsigned(payload: dict[str, Any], algorithm: str) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(payload)}."


TOKENS: dict[str, tuple[dict[str, Any], int, str]] = {
    "expired": ({"exp": int(time.time()) - 60}, 401, "expired_token"),
    "without exp": ({"exp": None}, 401, "bad_token"),
    "with exp as text": ({"exp": "soon"}, 401, "bad_token"),
    "with exp as digits in a text": ({"exp": "4102444800"}, 401, "bad_token"),
    "with exp true": ({"exp": True}, 401, "bad_token"),
    "expiring beyond all calendars": ({"exp": 10**30}, 401, "bad_token"),
    "not yet valid": ({"nbf": 4_102_444_800}, 401, "bad_token"),  # the year 2100: the table is older than its test
    "for another audience": ({"aud": "mail"}, 401, "bad_token"),
    "for no audience": ({"aud": None}, 401, "bad_token"),
    "of another issuer": ({"iss": "mallory"}, 401, "bad_token"),
    "of no issuer": ({"iss": None}, 401, "bad_token"),
    "without sub": ({"sub": None}, 401, "bad_token"),
    "with an empty sub": ({"sub": ""}, 401, "bad_token"),
    "with a sub with a space": ({"sub": "alice "}, 401, "bad_token"),
    "with a sub with a newline at its end": ({"sub": "alice\n"}, 401, "bad_token"),
    "with a sub of 65": ({"sub": "a" * 65}, 401, "bad_token"),
    "with a number as sub": ({"sub": 5}, 401, "bad_token"),
    "bound to another device": ({"device": "laptop"}, 403, "wrong_device"),
    "bound to a device in other case": ({"device": "Phone"}, 403, "wrong_device"),
    "bound to a device that is a number": ({"device": 5}, 401, "bad_token"),
}


async def _try(cast: Cast, token: str) -> Answer:
    return await handshake(cast.gateway(0), TARGET, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_with_bad_claims_is_refused(cast: Cast, name: str) -> None:
    changes, status, code = TOKENS[name]
    answer = await _try(cast, _encode(cast, cast.claims(cast.user("alice"), **changes)))
    assert (answer.status, answer.code) == (status, code)


def _encode(cast: Cast, claims: dict[str, Any]) -> str:
    """Sign claims as they are: the library that signs refuses some bad ones itself."""
    return _hs256({"alg": "HS256", "typ": "JWT"}, claims, cast.secret().encode())


def _hs256(head: dict[str, str], claims: dict[str, Any], key: bytes) -> str:
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
    signature = hmac.new(key, signed, hashlib.sha256).digest()
    return b".".join((signed, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256"])
async def test_a_token_without_a_signature_is_refused(cast: Cast, algorithm: str) -> None:
    answer = await _try(cast, _unsigned(cast.claims(cast.user("alice")), algorithm))
    assert (answer.status, answer.code) == (401, "bad_token")


@pytest.mark.parametrize("secret", ["another-secret-that-nobody-gave-to-the-gateway", "x" * 64])
async def test_a_token_signed_with_another_key_is_refused(cast: Cast, secret: str) -> None:
    answer = await _try(cast, cast.sign(cast.claims(cast.user("alice")), secret=secret))
    assert (answer.status, answer.code) == (401, "bad_token")


async def test_a_token_of_an_algorithm_without_a_key_is_refused(cast: Cast) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    answer = await _try(cast, jwt.encode(cast.claims(cast.user("alice")), key, algorithm="RS256"))
    assert (answer.status, answer.code) == (401, "bad_token")


async def test_a_token_with_a_changed_signature_or_payload_is_refused(cast: Cast) -> None:
    head, body, signature = cast.system.token(cast.user("alice")).split(".")
    other = cast.system.token(cast.user("bob")).split(".")[1]
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.{signature[::-1]}", f"{head}.{body}"):
        answer = await _try(cast, token)
        assert (answer.status, answer.code) == (401, "bad_token")


async def test_a_token_expired_within_the_leeway_still_passes(cast: Cast) -> None:
    answer = await _try(cast, cast.sign(cast.claims(cast.user("alice"), exp=int(time.time()) - 2)))
    assert answer.status == 101


async def test_the_token_may_come_as_a_second_subprotocol_and_is_not_answered(cast: Cast) -> None:
    offered = f"chat.v1, bearer.{cast.system.token(cast.user('alice'))}"
    answer = await handshake(cast.gateway(0), TARGET, {"Sec-WebSocket-Protocol": offered})
    assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, "chat.v1")


async def test_a_bad_token_as_a_subprotocol_is_refused(cast: Cast) -> None:
    answer = await handshake(cast.gateway(0), TARGET, {"Sec-WebSocket-Protocol": "chat.v1, bearer.a.b.c"})
    assert (answer.status, answer.code) == (401, "bad_token")


async def test_the_gateways_own_origin_passes(cast: Cast) -> None:
    token, own = cast.system.token(cast.user("alice")), cast.gateway(0).replace("ws://", "http://")
    answer = await handshake(cast.gateway(0), TARGET, {"Authorization": f"Bearer {token}", "Origin": own})
    assert answer.status == 101


async def test_the_twenty_first_device_of_a_user_is_refused_and_the_known_ones_are_not(cast: Cast) -> None:
    alice = cast.user("alice")
    for number in range(20):
        await (await cast.online(alice, f"device-{number}")).close()
    headers: dict[str, str | None] = {"Authorization": f"Bearer {cast.system.token(alice)}"}
    answer = await handshake(cast.gateway(0), "/v1/ws?device=device-20", headers)
    assert (answer.status, answer.code) == (403, "too_many_devices")
    assert (await handshake(cast.gateway(1), "/v1/ws?device=device-7", headers)).status == 101


async def test_a_public_key_is_no_secret_and_asymmetric_tokens_pass(make_stack: MakeSystem, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}))
    system = await make_stack(gateways=1, workers=1, presence=1, environment={"CHAT_JWKS_FILE": str(jwks)})
    async with Cast(system) as cast:
        claims, head = cast.claims(cast.user("alice")), {"kid": "k1"}
        assert (await _try(cast, jwt.encode(claims, key, algorithm="RS256", headers=head))).status == 101
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        for bad in (
            _confused(claims, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
            _confused(claims, public["n"].encode()),
            jwt.encode(claims, stranger, algorithm="RS256", headers=head),
            jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k2"}),
            jwt.encode(claims, key, algorithm="PS512", headers=head),
        ):
            answer = await _try(cast, bad)
            assert (answer.status, answer.code) == (401, "bad_token")


def _confused(claims: dict[str, Any], public: bytes) -> str:
    """Sign with a public key as if it were HS256's secret."""
    return _hs256({"alg": "HS256", "typ": "JWT", "kid": "k1"}, claims, public)
