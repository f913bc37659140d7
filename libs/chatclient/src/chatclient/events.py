"""What an application sees: messages, receipts, presence, typing and the state of the connection.

Pure values. They carry what the server said, and never decide anything.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sent:
    """The server committed a message of ours under `seq`; `ts` is UTC epoch milliseconds."""

    seq: int
    ts: int
    id: str
    peer: str


@dataclass(frozen=True, slots=True)
class Message:
    """An entry of the conversation with `peer`; `state` is known only in a page of history."""

    peer: str
    sender: str
    seq: int
    id: str
    ts: int
    body: str
    device: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Marks:
    """The watermarks of a conversation as this device knows them; none ever goes back."""

    cursor: int = 0
    read: int = 0
    peer_delivered: int = 0
    peer_read: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """A watermark of `user` in the conversation with `peer` rose; both are the maxima so far."""

    peer: str
    user: str
    delivered: int
    read: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a subscribed user is online; `last_seen` is UTC epoch milliseconds."""

    user: str
    online: bool
    last_seen: int | None


@dataclass(frozen=True, slots=True)
class Typing:
    """The peer is typing; show it for 5 s."""

    peer: str


@dataclass(frozen=True, slots=True)
class Connected:
    """A gateway said welcome; the sync follows."""

    user: str
    device: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, and the client tries again in `retry_in_s`."""

    reason: str
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class SyncDone:
    """Everything that this device had missed has arrived."""


@dataclass(frozen=True, slots=True)
class EpochChanged:
    """The database was restored: forget every message shown so far, the server tells them again."""


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A send of an earlier run of the program, for which nobody waits, was refused for good."""

    id: str
    peer: str
    code: str


Event = Message | Receipt | Presence | Typing | Connected | Disconnected | SyncDone | EpochChanged | Sent | SendFailed


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages in ascending order; `more` tells whether there are further ones that way."""

    peer: str
    messages: tuple[Message, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line of the user's list of conversations."""

    peer: str
    last: int
    ts: int
    unread: int
    marks: Marks
    last_message: Message | None


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """Conversations, the latest first; `cursor` asks for the next page and is None at the end."""

    items: tuple[Conversation, ...]
    cursor: str | None


def read_message(frame: dict[str, Any], peer: str) -> Message:
    """Read a message frame, which may lack `peer` inside a page of one conversation."""
    return Message(
        peer=frame.get("peer", peer),
        sender=frame["from"],
        seq=frame["seq"],
        id=frame["id"],
        ts=frame["ts"],
        body=frame["body"],
        device=frame.get("device"),
        state=frame.get("state"),
    )


def read_conversation(frame: dict[str, Any]) -> Conversation:
    """Read an item of a `conversations` answer."""
    last = frame.get("last_message")
    return Conversation(
        peer=frame["peer"],
        last=frame["last"],
        ts=frame["ts"],
        unread=frame["unread"],
        marks=Marks(
            cursor=frame["cursor"],
            read=frame["read"],
            peer_delivered=frame["peer_delivered"],
            peer_read=frame["peer_read"],
        ),
        last_message=None if last is None else read_message(last, frame["peer"]),
    )
