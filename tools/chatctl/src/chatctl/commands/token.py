"""`token`: a token of the local stack, or of the system that the environment names."""

import os
from pathlib import Path

from chatctl.deployment import LOCAL
from chatctl.stack import stack_file
from chatctl.stack.stack_file import JwtSettings
from chatctl.tokens import sign


def token(user: str, *, device: str | None = None, ttl: float = 3600, dir: Path | None = None) -> None:  # noqa: A002 - the option's name
    """Print a token for a user, signed with CHAT_JWT_SECRET where it is set, else with the local stack's secret.

    Parameters
    ----------
    device: Bind the token to one device.
    ttl: Seconds until it expires.
    dir: The local stack's folder; it wins over the environment.
    """
    print(sign(_settings(dir), user, device=device, ttl_s=ttl))


def _settings(folder: Path | None) -> JwtSettings:
    secret = os.environ.get("CHAT_JWT_SECRET")
    if folder is not None or not secret:
        return stack_file.read_running((folder or LOCAL).resolve()).jwt
    return JwtSettings(
        secret=secret,
        audience=os.environ.get("CHAT_JWT_AUDIENCE", "chat"),
        issuer=os.environ.get("CHAT_JWT_ISSUER", "chat"),
    )
