"""Where tokens come from, and when one must be renewed.

Reads the `exp` of a JWT and nothing else of it; never verifies, logs or keeps a token.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable

import orjson

TokenSource = str | Callable[[], Awaitable[str]]
"""A token, or an asynchronous function that returns a fresh one each time."""

RENEW_AT = 0.8
"""The part of a token's remaining life after which it is renewed: later risks 4401 on a slow renewal."""
RENEW_PAUSE_S = 1.0
"""Seconds until the next try when renewing failed; also the shortest time between two renewals."""
RENEW_TIMEOUT_S = 30.0
"""Seconds that the application's function may take to renew."""


async def obtain(source: TokenSource) -> str:
    """Ask the source for a token."""
    return source if isinstance(source, str) else await source()


def expires_at_s(token: str) -> float | None:
    """Read when a JWT expires, in seconds of UTC since 1970; None for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    exp = claims.get("exp") if isinstance(claims, dict) else None
    return float(exp) if isinstance(exp, int | float) else None


def renew_in_s(token: str, wall_s: float) -> float | None:
    """Tell in how many seconds to renew; None for a token that does not say when it expires."""
    exp = expires_at_s(token)
    return None if exp is None else max(RENEW_PAUSE_S, (exp - wall_s) * RENEW_AT)
