"""Signs the tokens of the local stack. It knows the stack's own secret only, never a production key."""

import time
from collections.abc import Mapping

import jwt

from chatctl.stack.stack_file import JwtSettings


def sign(
    settings: JwtSettings,
    user: str,
    *,
    device: str | None = None,
    ttl_s: float = 3600,
    claims: Mapping[str, object] = {},
) -> str:
    """Return an HS256 token for a user; `claims` are added last, so a test can also make a wrong one."""
    now = int(time.time())
    payload: dict[str, object] = {
        "sub": user,
        "iat": now,
        "exp": now + int(ttl_s),
        "aud": settings.audience,
        "iss": settings.issuer,
    }
    if device is not None:
        payload["device"] = device
    return jwt.encode({**payload, **claims}, settings.secret, algorithm="HS256")
