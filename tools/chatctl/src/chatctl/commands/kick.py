"""`kick`: ends a user's connections; nothing keeps them from coming back."""

from dataclasses import dataclass

from chatcore.errors import Close

from chatctl import deployment
from chatctl.deployment import Dir
from chatctl.operations.people import close_connections
from chatctl.printing import Json, tell_one


@dataclass(frozen=True, slots=True)
class Kicked:
    """Whose connections were closed, and how many there were."""

    user: str
    device: str | None
    """None: every device."""
    connections: int


def kick(user: str, *, device: str | None = None, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the options' names
    """Close the connections of a user, or of one device, with 1001: their clients come back, to any gateway.

    Parameters
    ----------
    device
        This device alone.
    """
    work = close_connections(deployment.find(dir), user, device, Close.GOING_AWAY, "kicked", also_new=False)
    kicked = Kicked(user, device, deployment.perform(work))
    tell_one(kicked, as_json=json, text=f"closed {kicked.connections} connections")
