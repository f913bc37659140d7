"""The errors an application can meet, named by the codes of the protocol.

They hold a code and a text; they never hold a token or a body.
"""


class ChatError(Exception):
    """Everything that this library raises."""


class Refused(ChatError):
    """The server gave a final error for a frame of ours: the same frame can never succeed."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class SendRefused(Refused):
    """A message was refused for good (`too_large`, `id_conflict`, `invalid_recipient` ...)."""


class RequestRefused(Refused):
    """A history or list request was refused for good."""


class ConnectionEnded(ChatError):
    """The server ended the session for a reason that coming back would not change."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server ended the session: {reason}")
        self.reason = reason


class ChatClosed(ChatError):
    """The chat was closed while an answer was awaited; unsent messages stay in the outbox."""


class OutboxFull(ChatError):
    """More messages wait for an answer than the client keeps; wait for some, then send again."""


class ProtocolBroken(ChatError):
    """The server sent a frame that the protocol does not know; going on could lose messages."""
