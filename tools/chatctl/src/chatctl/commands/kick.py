"""`kick`: ends a user's connections; nothing keeps them from coming back."""

from pathlib import Path

from chatcore.errors import Close

from chatctl import deployment
from chatctl.operations.people import close_connections


def kick(user: str, *, device: str | None = None, dir: Path | None = None) -> None:  # noqa: A002 - the option's name is fixed
    """Close the connections of a user, or of one device, with 1001: their clients come back, to any gateway.

    Parameters
    ----------
    device: This device alone.
    dir: A local stack; the default is the system that the environment names, or the stack in `.run`.
    """
    work = close_connections(deployment.find(dir), user, device, Close.GOING_AWAY, "kicked", also_new=False)
    print(f"closed {deployment.perform(work)} connections")
