"""The client of the chat backend: `connect`, and the values and errors that a chat deals in."""

import logging

from chatclient.chat import Chat, connect, new_message_id
from chatclient.errors import (
    ChatClosed,
    ChatError,
    ConnectionEnded,
    OutboxFull,
    ProtocolBroken,
    Refused,
    RequestRefused,
    SendRefused,
)
from chatclient.events import (
    Connected,
    Conversation,
    ConversationPage,
    Disconnected,
    EpochChanged,
    Event,
    HistoryPage,
    Marks,
    Message,
    Presence,
    Receipt,
    SendFailed,
    Sent,
    SyncDone,
    Typing,
)
from chatclient.state import MemoryState, SqliteState, State
from chatclient.tokens import TokenSource

# Where logs go is the application's choice: without one they must not appear on its terminal.
logging.getLogger("chatclient").addHandler(logging.NullHandler())

__all__ = [
    "Chat",
    "ChatClosed",
    "ChatError",
    "Connected",
    "ConnectionEnded",
    "Conversation",
    "ConversationPage",
    "Disconnected",
    "EpochChanged",
    "Event",
    "HistoryPage",
    "Marks",
    "MemoryState",
    "Message",
    "OutboxFull",
    "Presence",
    "ProtocolBroken",
    "Receipt",
    "Refused",
    "RequestRefused",
    "SendFailed",
    "SendRefused",
    "Sent",
    "SqliteState",
    "State",
    "SyncDone",
    "TokenSource",
    "Typing",
    "connect",
    "new_message_id",
]
