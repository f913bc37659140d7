"""The delivery core: what a batch of events does to conversations (R10). Pure; the worker is the shell around it."""

from chatcore.delivery.memory import Memory
from chatcore.delivery.plan import (
    Answer,
    CursorRow,
    MemberRow,
    Message,
    MessageRow,
    Plan,
    Receipt,
    Refused,
    Sent,
    plan,
)
from chatcore.delivery.state import Conversation, Known, digest_of, new_conversation

__all__ = [
    "Answer",
    "Conversation",
    "CursorRow",
    "Known",
    "MemberRow",
    "Memory",
    "Message",
    "MessageRow",
    "Plan",
    "Receipt",
    "Refused",
    "Sent",
    "digest_of",
    "new_conversation",
    "plan",
]
