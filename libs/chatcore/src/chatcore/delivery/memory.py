"""Owns which conversations an owner remembers, and when it forgets them (R1b). Pure."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from chatcore.delivery.state import Conversation
from chatcore.ids import ConversationId

MAX_CONVERSATIONS: Final = 50_000
"""At about 2 KB each 100 MB; the ones used longest ago are forgotten, which costs one read when they come back."""


class Memory:
    """The states of an owner's conversations. It changes only after an answered COMMIT."""

    def __init__(self, most: int = MAX_CONVERSATIONS) -> None:
        self._states: OrderedDict[ConversationId, Conversation] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._states)

    def get(self, conversation: ConversationId) -> Conversation | None:
        """Give what is remembered of a conversation."""
        return self._states.get(conversation)

    def install(self, states: Iterable[tuple[ConversationId, Conversation]]) -> None:
        """Remember the states of a batch whose COMMIT was answered."""
        for conversation, state in states:
            self._states[conversation] = state
            self._states.move_to_end(conversation)
        while len(self._states) > self._most:
            self._states.popitem(last=False)

    def forget(self, conversations: Iterable[ConversationId]) -> None:
        """Forget the conversations of a batch with any other outcome."""
        for conversation in conversations:
            self._states.pop(conversation, None)

    def clear(self) -> None:
        """Forget everything: every takeover starts empty."""
        self._states.clear()
