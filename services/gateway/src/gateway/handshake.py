"""Owns whether a request may become a connection: the checks of PROTOCOL section 3, in its order, before the upgrade.

It must never say more than the first check that fails, and never read a token from the URL.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from aiohttp import web
from chatcore.errors import HandshakeRefused, Refusal
from chatcore.ids import is_device_id

from gateway.admissions import Admissions
from gateway.bucket import Bucket
from gateway.registry import Registry
from gateway.settings import GatewaySettings
from gateway.tokens import Tokens

SUBPROTOCOL: Final = "chat.v1"
BEARER: Final = "bearer."
MAX_SINCE_CHARS: Final = 512
RETRY_AFTER_S: Final = 2
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
"""What a `Host` may name and an `Origin` leaves out."""
MAX_USERS: Final = 10_000
"""Users whose handshakes are counted at once; past it those who have all their tokens back are forgotten."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a request that passed says."""

    user: str
    device: str
    since: str
    expires_at_s: float


class Handshake:
    """Checks requests."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        tokens: Tokens,
        registry: Registry,
        admissions: Admissions,
        unready: Callable[[], Refusal | None],
    ) -> None:
        self._settings, self._tokens, self._registry, self._unready = settings, tokens, registry, unready
        self._admissions = admissions
        rate = settings.handshakes_per_s
        self._bucket = Bucket(rate=rate, burst=max(1.0, rate), now=monotonic()) if rate else None
        self._users: dict[str, Bucket] = {}

    async def check(self, request: web.Request) -> Hello:
        """Give what the request says. Raises `HandshakeRefused`."""
        _check_upgrade(request)
        self._check_room()
        device = _device(request)
        protocols = _protocols(request)
        if SUBPROTOCOL not in protocols:
            raise HandshakeRefused(Refusal.BAD_VERSION, f"the subprotocol {SUBPROTOCOL} is needed")
        identity = await self._tokens.verify(_token(request, protocols))
        self._check_origin(request)
        if identity.device is not None and identity.device != device:
            raise HandshakeRefused(Refusal.WRONG_DEVICE, "the token is bound to another device")
        self._check_user(identity.user)
        since = request.query.get("since", "")
        since = since if len(since) <= MAX_SINCE_CHARS and since.isprintable() else ""
        return Hello(identity.user, device, since, identity.expires_at_s)

    def _check_room(self) -> None:
        refusal = self._unready()
        if refusal is not None:
            raise HandshakeRefused(refusal, "come again, or to another gateway", retry_after_s=RETRY_AFTER_S)
        limit = self._settings.max_connections
        if limit and len(self._registry.by_number) >= limit:
            raise _too_many("this gateway is full")
        if self._bucket is not None and self._bucket.spend(monotonic()):
            raise _too_many("too many handshakes")
        again_s = self._admissions.refuse(monotonic())
        if again_s is not None:
            raise _too_many("too many handshakes wait", retry_after_s=again_s)

    def _check_user(self, user: str) -> None:
        limit = self._settings.connections_per_user
        if limit and self._registry.per_user.get(user, 0) >= limit:
            raise _too_many("too many connections of this user")
        rate = self._settings.user_handshakes_per_s
        if rate and self._bucket_of(user, rate).spend(monotonic()):
            raise _too_many("too many handshakes of this user")

    def _bucket_of(self, user: str, rate: float) -> Bucket:
        now = monotonic()
        if len(self._users) >= MAX_USERS:
            self._users = {user: bucket for user, bucket in self._users.items() if not bucket.full(now)}
        return self._users.setdefault(user, Bucket(rate=rate, burst=max(1.0, rate), now=now))

    def _check_origin(self, request: web.Request) -> None:
        host = request.headers.get("Host", "").lower()
        # A proxy may have ended TLS, so both schemes are our own.
        own = {_without_default_port(f"{scheme}://{host}") for scheme in DEFAULT_PORTS}
        foreign = [
            origin
            for origin in request.headers.getall("Origin", [])
            if origin not in self._settings.origins and _without_default_port(origin.lower()) not in own
        ]
        if foreign:
            raise HandshakeRefused(Refusal.BAD_ORIGIN, "this origin is not allowed")


def _without_default_port(origin: str) -> str:
    """Write an origin as browsers do (RFC 6454 section 6.1): without its scheme's own port."""
    scheme, _, _ = origin.partition("://")
    return origin.removesuffix(DEFAULT_PORTS.get(scheme, ""))


def _too_many(message: str, *, retry_after_s: int = RETRY_AFTER_S) -> HandshakeRefused:
    return HandshakeRefused(Refusal.TOO_MANY_CONNECTIONS, message, retry_after_s=retry_after_s)


def _check_upgrade(request: web.Request) -> None:
    headers = request.headers
    upgrades = headers.get("Upgrade", "").strip().lower() == "websocket"
    asked = "upgrade" in [part.strip().lower() for part in headers.get("Connection", "").split(",")]
    version = headers.get("Sec-WebSocket-Version", "").strip() == "13"
    if request.method != "GET" or not (upgrades and asked and version and _is_key(headers.get("Sec-WebSocket-Key"))):
        raise HandshakeRefused(Refusal.NOT_WEBSOCKET, "a WebSocket handshake (RFC 6455, version 13) is needed")


def _is_key(key: str | None) -> bool:
    try:
        return key is not None and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _device(request: web.Request) -> str:
    devices = request.query.getall("device", [])
    if len(devices) != 1 or not is_device_id(devices[0]):
        raise HandshakeRefused(Refusal.BAD_DEVICE, "`device` is needed once: 1-64 of A-Z a-z 0-9 . _ -")
    return devices[0]


def _protocols(request: web.Request) -> list[str]:
    lines = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [part.strip() for line in lines for part in line.split(",")]


def _token(request: web.Request, protocols: list[str]) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for protocol in protocols:
        if protocol.startswith(BEARER) and len(protocol) > len(BEARER):
            return protocol[len(BEARER) :]
    raise HandshakeRefused(Refusal.NO_TOKEN, "a token is needed")
