"""Who a token says that a client is: every bad token of a table is refused, for the right reason."""

import base64
import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
from chatcore.errors import ConfigurationError, HandshakeRefused, Refusal
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from gateway.jwks import Jwks
from gateway.tokens import Tokens

from tests.gateway.client import SECRET, token

RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(algorithm: str, key: Any, kid: str) -> dict[str, Any]:
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "use": "sig"}


def claims(**changed: Any) -> dict[str, Any]:
    values = {"sub": "alice", "aud": "chat", "iss": "chat", "exp": time() + 600, **changed}
    return {key: value for key, value in values.items() if value is not None}


def signed(algorithm: str, key: Any, kid: str | None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def forged(header: dict[str, Any], secret: bytes = b"") -> str:
    """A token as an attacker writes it, past what PyJWT would sign."""

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    signing = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims()).encode())
    signature = part(hmac.digest(secret, signing, sha256)) if secret else b""
    return (signing + b"." + signature).decode()


def write(path: Path, content: str | None) -> None:
    """Replace a file, or remove it."""
    path.unlink()
    if content is not None:
        path.write_text(content)


@pytest.fixture
def jwks_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk("RS256", RSA, "r1"), jwk("ES256", EC, "e1"), jwk("EdDSA", ED, "d1")]}))
    return path


@pytest.fixture
def tokens(jwks_file: Path) -> Tokens:
    return Tokens(secret=SECRET, audience="chat", issuer="chat", keys=Jwks(file=str(jwks_file)))


GOOD: dict[str, Callable[[], str]] = {
    "HS256": lambda: token(),
    "within the leeway": lambda: token(exp=time() - 5),
    "a little early": lambda: token(nbf=time() + 5),
    "audience in a list": lambda: token(aud=["other", "chat"]),
    "RS256": lambda: signed("RS256", RSA, "r1"),
    "RS512": lambda: signed("RS512", RSA, "r1"),
    "PS256": lambda: signed("PS256", RSA, "r1"),
    "ES256": lambda: signed("ES256", EC, "e1"),
    "EdDSA": lambda: signed("EdDSA", ED, "d1"),
}

BAD: dict[str, Callable[[], str]] = {
    "garbage": lambda: "garbage",
    "empty parts": lambda: "..",
    "not JSON": lambda: "YQ.YQ.YQ",
    "another secret": lambda: token(secret="another secret of the tests, long enough"),
    "not yet valid": lambda: token(nbf=time() + 60),
    "issued in the future": lambda: token(iat=time() + 60),
    "another audience": lambda: token(aud="other"),
    "another issuer": lambda: token(iss="other"),
    "no audience": lambda: token(aud=None),
    "no issuer": lambda: token(iss=None),
    "no subject": lambda: token(sub=None),
    "no expiry": lambda: token(exp=None),
    "no expiry but true": lambda: token(exp=True),
    "an expiry that is no number": lambda: token(exp=float("nan")),
    "an expiry before all time": lambda: token(exp=float("-inf")),
    "an expiry that is a string": lambda: token(exp="1"),
    "expired, and of another audience": lambda: token(exp=1, aud="other"),
    "expired, and of another issuer": lambda: token(exp=1, iss="other"),
    "expired, and of no user": lambda: token("a b", exp=1),
    "expired, and signed with another secret": lambda: token(exp=1, secret="another secret of the tests, long enough"),
    "a subject that is no user id": lambda: token("a b"),
    "a subject with a newline": lambda: token("alice\n"),
    "a device that is no device id": lambda: token(device="a b"),
    "a device that is a number": lambda: token(device=7),
    "HS384 with the right secret": lambda: token(algorithm="HS384"),
    "algorithm none": lambda: forged({"alg": "none", "typ": "JWT"}),
    "algorithm None": lambda: forged({"alg": "None", "typ": "JWT"}),
    "no algorithm": lambda: forged({"typ": "JWT"}),
    "HS256 with the public key": lambda: forged({"alg": "HS256", "kid": "r1"}, PUBLIC_PEM),
    "another RSA key": lambda: signed("RS256", OTHER_RSA, "r1"),
    "an unknown key id": lambda: signed("RS256", RSA, "r9"),
    "no key id": lambda: signed("RS256", RSA, None),
    "an algorithm of another key type": lambda: signed("ES256", EC, "r1"),
    "altered": lambda: token()[:-4] + "AAAA",
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_names_its_user(tokens: Tokens, name: str) -> None:
    assert (await tokens.verify(GOOD[name]())).user == "alice"


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused(tokens: Tokens, name: str) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        await tokens.verify(BAD[name]())
    assert refused.value.refusal is Refusal.BAD_TOKEN


async def test_an_expired_token_is_named_so(tokens: Tokens) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        await tokens.verify(token(exp=time() - 11))
    assert refused.value.refusal is Refusal.EXPIRED_TOKEN


async def test_a_key_that_rotated_in_is_found_after_the_cool_down(
    jwks_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("gateway.jwks.monotonic", lambda: now[0])
    tokens = Tokens(secret=None, audience="chat", issuer="chat", keys=Jwks(file=str(jwks_file)))
    await tokens.verify(signed("RS256", RSA, "r1"))
    write(jwks_file, json.dumps({"keys": [jwk("RS256", OTHER_RSA, "r2")]}))
    fresh = signed("RS256", OTHER_RSA, "r2")
    with pytest.raises(HandshakeRefused):
        await tokens.verify(fresh)
    now[0] += 11
    await tokens.verify(fresh)
    with pytest.raises(HandshakeRefused):
        await tokens.verify(signed("RS256", RSA, "r1"))


async def test_keys_stay_when_the_document_cannot_be_read(jwks_file: Path) -> None:
    keys = Jwks(file=str(jwks_file))
    await keys.refresh()
    for content in ("", "{}", '{"keys":7}', '{"keys":[{"kty":"RSA","kid":"x"}]}'):
        write(jwks_file, content)
        await keys.refresh()
        assert await keys.find("r1") is not None
    write(jwks_file, None)
    await keys.refresh()
    assert await keys.find("r1") is not None


async def test_without_a_shared_secret_no_hs256_passes(jwks_file: Path) -> None:
    tokens = Tokens(secret=None, audience="chat", issuer="chat", keys=Jwks(file=str(jwks_file)))
    with pytest.raises(HandshakeRefused):
        await tokens.verify(token())


@pytest.mark.parametrize("secret", [None, "short"])
def test_a_gateway_that_could_trust_nobody_does_not_start(secret: str | None) -> None:
    with pytest.raises(ConfigurationError):
        Tokens(secret=secret, audience="chat", issuer="chat", keys=None)
