"""Owns the shapes of the frames that a server sends (PROTOCOL section 5), for the published contract and for tests.

Pure. No service builds its frames with these models: the hot paths write ready-made bytes, and a test holds those
bytes against these shapes.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from chatcore.errors import RETRYABLE, Code
from chatcore.frames import MAX_SEQ, PeerId, Reference
from chatcore.ids import DEVICE_ID_PATTERN

Seq = Annotated[int, Field(ge=1, le=MAX_SEQ)]
Mark = Annotated[int, Field(ge=0, le=MAX_SEQ, description="A seq, or 0 for none.")]
Milliseconds = Annotated[int, Field(ge=0, description="Milliseconds since 1970, UTC.")]
DeviceName = Annotated[str, StringConstraints(pattern=f"^{DEVICE_ID_PATTERN}$")]


def _open(schema: dict[str, Any]) -> None:
    """Publish that a client ignores fields that it does not know, although this server writes no others."""
    schema.pop("additionalProperties", None)


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=_open)


class _Answer(_Shape):
    ref: Reference | None = None


class Limits(_Shape):
    """What one connection may ask for."""

    max_frame_bytes: int
    max_body_bytes: int
    sends_per_s: int
    sends_burst: int
    max_in_flight: int
    max_subscriptions: int
    presence_ttl_s: int


class Welcome(_Shape):
    """The first frame, always. Another `epoch` than before means that the database was restored from a backup."""

    type: Literal["welcome"]
    user: PeerId
    device: DeviceName
    gateway: str
    epoch: str
    ts: Milliseconds
    limits: Limits


class MessageFields(_Shape):
    """A message as one of its two users sees it: `peer` is the other one."""

    peer: PeerId
    sender: Annotated[PeerId, Field(alias="from")]
    device: DeviceName
    seq: Seq
    id: Reference
    ts: Milliseconds
    body: str


class Message(MessageFields):
    """A new message, to the recipient's devices and to the sender's other devices."""

    type: Literal["message"]


class HistoryMessage(MessageFields):
    """A message with the state that its marks give it."""

    state: Literal["created", "sent", "delivered", "read"]


class ConversationFields(_Shape):
    """What a sync says of a conversation."""

    peer: PeerId
    last: Mark
    cursor: Annotated[Mark, Field(description="Up to here the server owes this device nothing.")]
    read: Mark
    peer_delivered: Mark
    peer_read: Mark


class Sync(_Shape):
    """A page of what this device missed; the last one has `done` and a token. It may come again at any time."""

    type: Literal["sync"]
    conversations: list[ConversationFields]
    messages: list[MessageFields]
    done: bool
    token: str | None = None

    @model_validator(mode="after")
    def _ends_with_a_token(self) -> "Sync":
        if self.done != (self.token is not None):
            raise ValueError("the last page, and no other, has a token")
        return self


class Sent(_Answer):
    """The message is committed to MySQL."""

    type: Literal["sent"]
    id: Reference
    peer: PeerId
    seq: Seq
    ts: Milliseconds


class Receipt(_Shape):
    """A mark of `user` in the conversation with `peer` rose."""

    type: Literal["receipt"]
    peer: PeerId
    user: PeerId
    delivered: Mark
    read: Mark


class HistoryPage(_Answer):
    """Messages in ascending order; `more` tells whether there are further ones in that direction."""

    type: Literal["history"]
    peer: PeerId
    messages: list[HistoryMessage]
    more: bool


class ConversationItem(ConversationFields):
    """A conversation in the list of them."""

    ts: Milliseconds
    unread: Mark
    last_message: HistoryMessage | None = None


class ConversationsPage(_Answer):
    """Conversations, the latest first; a null `cursor` is the end."""

    type: Literal["conversations"]
    items: list[ConversationItem]
    cursor: str | None = None


class Presence(_Answer):
    """Whether a user is online; `last_seen` is null while online and for one who was never seen."""

    type: Literal["presence"]
    user: PeerId
    online: bool
    last_seen: Milliseconds | None = None


class TypingNow(_Shape):
    """The peer is typing; show it for 5 s."""

    type: Literal["typing"]
    peer: PeerId


class AuthOk(_Answer):
    """The newer token is in force."""

    type: Literal["auth_ok"]
    expires_at: Milliseconds


class Pong(_Answer):
    """The answer to `ping`."""

    type: Literal["pong"]


class Error(_Answer):
    """A refusal. With `retry_after_ms` the outcome is open, and the same frame may be sent again."""

    type: Literal["error"]
    code: Code
    message: str
    peer: PeerId | None = None
    retry_after_ms: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _asks_to_retry_what_is_open(self) -> "Error":
        if (self.code in RETRYABLE) != (self.retry_after_ms is not None):
            raise ValueError("an open outcome, and no other, has `retry_after_ms`")
        return self


class GoAway(_Shape):
    """Reconnect elsewhere after that time; the connection works until it closes with 1012."""

    type: Literal["goaway"]
    reason: str
    reconnect_after_ms: Annotated[int, Field(ge=0)]


ServerFrame = (
    Welcome
    | Sync
    | Sent
    | Message
    | Receipt
    | HistoryPage
    | ConversationsPage
    | Presence
    | TypingNow
    | AuthOk
    | Pong
    | Error
    | GoAway
)

_ADAPTER: Final[TypeAdapter[ServerFrame]] = TypeAdapter(Annotated[ServerFrame, Field(discriminator="type")])


def read_server_frame(raw: bytes) -> ServerFrame:
    """Read a frame of a server; raises pydantic's `ValidationError` for one that the contract does not name."""
    return _ADAPTER.validate_json(raw)


def server_frame_types() -> tuple[type[BaseModel], ...]:
    """Return the models of all frames, in the order of the contract."""
    members: Any = ServerFrame
    return tuple(members.__args__)
