"""`token`: a token of the local stack."""

from pathlib import Path

from chatctl.stack import stack_file
from chatctl.tokens import sign


def token(user: str, *, device: str | None = None, ttl: float = 3600, dir: Path = Path(".run")) -> None:  # noqa: A002 - the option's name
    """Print a token for a user.

    Parameters
    ----------
    device: Bind the token to one device.
    ttl: Seconds until it expires.
    """
    print(sign(stack_file.read_running(dir.resolve()).jwt, user, device=device, ttl_s=ttl))
