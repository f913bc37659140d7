"""`token`: a token of the local stack, or of the system that the environment names."""

from pathlib import Path

from chatctl.deployment import LOCAL
from chatctl.stack import stack_file
from chatctl.stack.stack_file import JwtSettings
from chatctl.tokens import from_environment, sign


def token(user: str, *, device: str | None = None, ttl: float = 3600, dir: Path | None = None) -> None:  # noqa: A002 - the option's name
    """Print a token for a user, signed with CHAT_JWT_SECRET where it is set, else with the local stack's secret.

    Parameters
    ----------
    device
        Bind the token to one device.
    ttl
        Seconds until it expires.
    dir
        The local stack's folder; it wins over the environment.
    """
    print(sign(_settings(dir), user, device=device, ttl_s=ttl))


def _settings(folder: Path | None) -> JwtSettings:
    named = from_environment() if folder is None else None
    return named or stack_file.read_running((folder or LOCAL).resolve()).jwt
