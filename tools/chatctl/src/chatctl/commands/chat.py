"""`chat`: the terminal chat on the local stack."""

import hashlib
import sys
from pathlib import Path

from chatctl import chat as terminal
from chatctl.deployment import LOCAL, LocalDir
from chatctl.stack import stack_file
from chatctl.tokens import sign


def chat(user: str, peer: str, *, device: str | None = None, dir: LocalDir = LOCAL) -> None:  # noqa: A002 - the option's name
    """Chat as one user with another, on this terminal. What was not sent yet goes out at the next start.

    Parameters
    ----------
    device
        The device that this terminal is.
    """
    folder = dir.resolve()
    urls = stack_file.read_running(folder).gateway_urls()

    def token() -> str:
        return sign(stack_file.read_running(folder).jwt, user, device=device)

    sys.exit(terminal.main(user, peer, urls=urls, token=token, device=device, state_path=_state(folder, user, device)))


def _state(folder: Path, user: str, device: str | None) -> Path:
    """Return where this device of the user keeps its state; hashed, since ids may differ in case only."""
    states = folder / "chats"
    states.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(f"{user} {device or terminal.DEVICE}".encode()).hexdigest()[:16]
    return states / f"{name}.sqlite"
