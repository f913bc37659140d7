"""What a session wants done, in order: frames, dials, answers, events, and records to keep.

Frozen values only. A shell performs them one after the other and never reorders them: a record to
keep stands before the frame that relies on it.
"""

from dataclasses import dataclass
from typing import Any

from chatclient.events import Event, Sent
from chatclient.session.records import Record


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection to any gateway, `since` the token of the last finished sync."""

    since: str | None


@dataclass(frozen=True, slots=True)
class HangUp:
    """Drop the connection without waiting; a `Lost` follows."""


@dataclass(frozen=True, slots=True)
class Write:
    """Send a frame."""

    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """Put an event into the application's queue."""

    event: Event


@dataclass(frozen=True, slots=True)
class Settle:
    """A send was committed."""

    sent: Sent


@dataclass(frozen=True, slots=True)
class Reject:
    """A send (`ref` is its id) or a request ended in a final error."""

    ref: str
    peer: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request of the application."""

    ref: str
    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Keep:
    """Write this record to the state before going on."""

    record: Record


@dataclass(frozen=True, slots=True)
class End:
    """The session is over: coming back would change nothing."""

    reason: str


Effect = Dial | HangUp | Write | Tell | Settle | Reject | Answer | Keep | End
