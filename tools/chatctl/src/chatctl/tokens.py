"""Signs tokens with a shared secret: the local stack's, or the environment's. It knows no private key.

`python -m chatctl.tokens USER` prints one of the environment's: for programs that ask for many, since the whole command
line takes a second of CPU to start.
"""

import os
import sys
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


def from_environment() -> JwtSettings | None:
    """Read what gateways read; None without CHAT_JWT_SECRET."""
    secret = os.environ.get("CHAT_JWT_SECRET")
    if not secret:
        return None
    audience, issuer = (os.environ.get(name) or "chat" for name in ("CHAT_JWT_AUDIENCE", "CHAT_JWT_ISSUER"))
    return JwtSettings(secret=secret, audience=audience, issuer=issuer)


def main() -> None:
    """Print a token for the user that the command line names."""
    settings = from_environment()
    if settings is None or len(sys.argv) != 2:
        sys.exit("usage: CHAT_JWT_SECRET=... python -m chatctl.tokens USER")
    print(sign(settings, sys.argv[1]))


if __name__ == "__main__":
    main()
