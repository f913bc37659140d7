"""`revoke`: shuts a user or a device out, at the handshake and on the connections that are open."""

from dataclasses import dataclass
from typing import Annotated

from chatcore.errors import Close
from cyclopts import Parameter
from delivery_worker.store.devices import DeviceStore

from chatctl import deployment
from chatctl.deployment import Deployment, Dir
from chatctl.operations.people import close_connections
from chatctl.printing import Json, tell_one


@dataclass(frozen=True, slots=True)
class Revocation:
    """Who is shut out or admitted again, and how many connections that ended."""

    user: str
    device: str | None
    """None: the user as a whole."""
    revoked: bool
    connections: int


def revoke(
    user: str,
    *,
    device: str | None = None,
    undo: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
    dir: Dir = None,  # noqa: A002 - the option's name is fixed
) -> None:
    """Revoke a user, or one device of theirs: refused at the handshake with 403, closed with 4403 where connected.

    Parameters
    ----------
    device
        This device alone; the default is the whole user, devices to come included.
    undo
        Take the revocation back.
    """
    done = deployment.perform(_revoke(deployment.find(dir), user, device, undo=undo))
    told = f"{user}{'/' + device if device else ''} is {'admitted again' if undo else 'revoked'}."
    tell_one(done, as_json=json, text=told)


async def _revoke(where: Deployment, user: str, device: str | None, *, undo: bool) -> Revocation:
    """Write the truth first: from then on no handshake passes. Then end what is open."""
    async with where.session() as session:
        await DeviceStore(session).revoke(user, device, undo=undo)
    if undo:
        return Revocation(user, device, revoked=False, connections=0)
    closed = await close_connections(where, user, device, Close.REVOKED, "revoked", also_new=True)
    return Revocation(user, device, revoked=True, connections=closed)
