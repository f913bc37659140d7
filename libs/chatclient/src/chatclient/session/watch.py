"""Whose presence is subscribed: named again on every connection, and after a refusal for now.

Knows users and times only; never what their presence is.
"""

from typing import Any

WATCH = "watch"
"""The `ref` of every subscription: an error with it postpones them all."""


class Watch:
    """The users whose presence the application wants."""

    def __init__(self) -> None:
        self._users: dict[str, None] = {}
        self._open = False
        self._again_at: float | None = None

    def size_with(self, users: tuple[str, ...]) -> int:
        """How many users there would be with these."""
        return len(self._users.keys() | set(users))

    @property
    def due(self) -> float | None:
        """When `pump` has something to send."""
        return self._again_at if self._open else None

    def open(self, now: float) -> None:
        """A connection said welcome: it knows no subscription yet."""
        self._open = True
        self._again_at = now if self._users else None

    def close(self) -> None:
        """The connection is gone."""
        self._open = False

    def postpone(self, again_at: float | None) -> None:
        """A subscription was refused: until that time, or for good."""
        self._again_at = again_at

    def add(self, users: tuple[str, ...]) -> list[dict[str, Any]]:
        """Subscribe to more users; return the frame for a connection that is there."""
        self._users |= dict.fromkeys(users)
        return [self._frame(users)] if self._open and users else []

    def remove(self, users: tuple[str, ...]) -> list[dict[str, Any]]:
        """End subscriptions; return the frame for a connection that is there."""
        for user in users:
            self._users.pop(user, None)
        return [{"type": "presence_unsubscribe", "users": list(users)}] if self._open and users else []

    def pump(self, now: float) -> list[dict[str, Any]]:
        """Take the frame that is to be sent now."""
        if not self._open or self._again_at is None or self._again_at > now:
            return []
        self._again_at = None
        return [self._frame(tuple(self._users))] if self._users else []

    def _frame(self, users: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "presence_subscribe", "users": list(users), "ref": WATCH}
