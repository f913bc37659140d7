"""The pure core of the client: inputs and the time in, effects out; no I/O, clock or chance inside."""

from chatclient.session.records import Snapshot
from chatclient.session.session import Session

__all__ = ["Session", "Snapshot"]
