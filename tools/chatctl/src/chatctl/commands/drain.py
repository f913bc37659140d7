"""`drain`: has one gateway leave, as SIGTERM does."""

from chatctl import deployment
from chatctl.deployment import Dir
from chatctl.operations import leaving
from chatctl.printing import Json, tell_one


def drain(gateway: str, *, within: float = 60.0, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the options' names
    """Have a gateway leave: its clients are sent elsewhere, spread, and its process ends with 0. Waits until it has.

    Whoever keeps it running (Kubernetes, the local stack) starts another one in its place.

    Parameters
    ----------
    gateway
        Its id, as in its log and in `who`, or its name where only one that lives has it.
    within
        Seconds to wait; more than its CHAT_SHUTDOWN_S.
    """
    left = deployment.perform(leaving.drain(deployment.find(dir), gateway, within_s=within))
    tell_one(left, as_json=json, text=f"{left.gateway} has left, after {left.took_s:.1f} s")
