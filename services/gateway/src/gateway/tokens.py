"""Owns who a token says that a client is: HS256 by a shared secret, asymmetric algorithms by public keys.

It must never let a token choose how it is verified: each key has its algorithms, and no other passes with it.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any, Final, Protocol

import jwt
import orjson
from chatcore.errors import ConfigurationError, HandshakeRefused, Refusal
from chatcore.ids import is_device_id, is_user_id

from gateway.session import LEEWAY_S

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: a key as long as the hash."""
ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "OKP": ("EdDSA",),
}
"""By key type. An EC key takes the one algorithm of its curve."""
CURVES: Final[Mapping[str, str]] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
REQUIRED: Final = ["exp", "aud", "iss", "sub"]
MAX_EXPIRY_S: Final = 253_402_300_799
"""The end of the year 9999: `auth_ok` tells it in milliseconds, which every client's numbers must hold."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a valid token names."""

    user: str
    device: str | None
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key, and the algorithms that may be used with it."""

    key: Any
    algorithms: tuple[str, ...]


class KeySource(Protocol):
    """Gives public keys by their ids."""

    async def find(self, kid: str) -> VerifyingKey | None:
        """Give the key, None when there is none."""


class Tokens:
    """Verifies tokens. Raises `ConfigurationError` when no token could ever pass."""

    def __init__(self, *, secret: str | None, audience: str, issuer: str, keys: KeySource | None) -> None:
        if secret is None and keys is None:
            raise ConfigurationError("one of CHAT_JWT_SECRET, CHAT_JWKS_FILE and CHAT_JWKS_URL is needed")
        if secret is not None and len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"CHAT_JWT_SECRET: at least {MIN_SECRET_BYTES} bytes are needed")
        self._shared = VerifyingKey(secret, ("HS256",)) if secret is not None else None
        self._audience, self._issuer, self._keys = audience, issuer, keys

    async def verify(self, token: str) -> Identity:
        """Give the identity. Raises `HandshakeRefused` (`bad_token`, `expired_token`)."""
        try:
            key = await self._key_for(_header_of(token))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                # The expiry is judged below, last of all: a token at fault in another way is bad, however old it is.
                options={"require": REQUIRED, "verify_exp": False},
            )
            identity = _identity(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise HandshakeRefused(Refusal.BAD_TOKEN, "the token is not valid") from None
        if identity.expires_at_s <= time() - LEEWAY_S:
            raise HandshakeRefused(Refusal.EXPIRED_TOKEN, "the token has expired")
        return identity

    async def _key_for(self, header: dict[str, Any]) -> VerifyingKey:
        algorithm = header.get("alg")
        if algorithm == "HS256":
            key = self._shared
        else:
            key = await self._keys.find(str(header.get("kid", ""))) if self._keys is not None else None
        if key is None or algorithm not in key.algorithms:
            raise ValueError("no such key")
        return key


def _header_of(token: str) -> dict[str, Any]:
    """Read which key a token names; `jwt.decode` judges the header with the rest. Raises `ValueError`.

    The library's own reader decodes the whole token for it: a fifth of what a verification costs.
    """
    segment = token.partition(".")[0]
    header = orjson.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")  # noqa: TRY004 - what a token says is a value
    return header


def read_jwks(document: Any) -> dict[str, VerifyingKey]:
    """Read the signing keys of a JWKS (RFC 7517); other entries are left out. Raises `ValueError`."""
    try:
        entries = [entry for entry in document["keys"] if entry.get("use", "sig") == "sig"]
        return {str(entry.get("kid", "")): key for entry in entries if (key := _read_key(entry)) is not None}
    except (KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError(f"not a JWKS: {error}") from error


def _read_key(entry: Any) -> VerifyingKey | None:
    kind, curve = entry.get("kty"), entry.get("crv")
    algorithms = (CURVES[curve],) if kind == "EC" and curve in CURVES else ALGORITHMS.get(kind)
    if algorithms is None:
        return None
    if "alg" in entry:
        algorithms = tuple(name for name in algorithms if name == entry["alg"])
    return VerifyingKey(jwt.PyJWK(entry, algorithm=algorithms[0]).key, algorithms) if algorithms else None


def _identity(claims: dict[str, Any]) -> Identity:
    user, device = claims["sub"], claims.get("device")
    if not isinstance(user, str) or not is_user_id(user):
        raise ValueError("no user id")
    if device is not None and (not isinstance(device, str) or not is_device_id(device)):
        raise ValueError("no device id")
    expires_at_s = claims["exp"]
    is_number = isinstance(expires_at_s, int | float) and not isinstance(expires_at_s, bool)
    # NaN, which Python's JSON reads, is not less than anything.
    if not is_number or not abs(expires_at_s) <= MAX_EXPIRY_S:
        raise ValueError("no time of expiry")
    return Identity(user, device, float(expires_at_s))
