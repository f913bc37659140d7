"""What happens to a session: the network's, the clock's and the application's inputs.

Frozen values only; nothing here acts.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Started:
    """The application opened the chat."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The handshake failed; `status` is 0 when no HTTP answer came, `luck` is random in [0, 1)."""

    status: int
    code: str
    luck: float
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone; `close_code` is None when it broke without a close frame.

    `luck` is random in [0, 1): the jitter of the way back.
    """

    close_code: int | None
    luck: float


@dataclass(frozen=True, slots=True)
class Heard:
    """Something without meaning of its own came, such as a WebSocket ping."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame came from the server, already parsed to an object."""

    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The application is about to close the chat: what waits to be acknowledged goes now."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The application sends a message; `id` is unique among all sends to this peer."""

    id: str
    to: str
    body: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The application makes a request that carries `ref` and is repeated until answered."""

    ref: str
    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dropped:
    """The application no longer waits for the answer to `ref`."""

    ref: str


@dataclass(frozen=True, slots=True)
class MarkedRead:
    """The user has read up to and including `seq`."""

    peer: str
    seq: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The application took the message `seq` out of the event queue: now it is safely held."""

    peer: str
    seq: int


@dataclass(frozen=True, slots=True)
class Typed:
    """The user is typing to `peer`."""

    peer: str


@dataclass(frozen=True, slots=True)
class Watched:
    """Subscribe to the presence of these users, over every reconnection."""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unwatched:
    """End these subscriptions."""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renewed:
    """A newer token for the same user and device is at hand."""

    token: str


Input = (
    Started
    | Refusal
    | Lost
    | Heard
    | Arrived
    | Ticked
    | Closing
    | Submitted
    | Asked
    | Dropped
    | MarkedRead
    | Taken
    | Typed
    | Watched
    | Unwatched
    | Renewed
)
