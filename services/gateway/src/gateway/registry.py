"""Owns which connections this gateway holds, and who of them watches whose presence. No I/O."""

import asyncio
from collections.abc import Iterable
from typing import Final

from gateway.connection import Connection

SHARES: Final = 200
"""Parts of about equal size into which the connections fall, for work that is done to all of them little by little."""


class Registry:
    """The connections by number, by share, by user's count and by watched user."""

    def __init__(self) -> None:
        self.by_number: dict[int, Connection] = {}
        self.shares: list[dict[int, Connection]] = [{} for _ in range(SHARES)]
        self.per_user: dict[str, int] = {}
        self.watchers: dict[str, set[Connection]] = {}
        self._last = 0
        self.emptied = asyncio.Event()
        """Set while there is no connection."""
        self.emptied.set()

    def next_number(self) -> int:
        """Count a connection."""
        self._last += 1
        return self._last

    def add(self, connection: Connection) -> None:
        """Hold a connection, from before it is entered on."""
        self.by_number[connection.number] = connection
        self.shares[connection.number % SHARES][connection.number] = connection
        self.emptied.clear()
        self.per_user[connection.user] = self.per_user.get(connection.user, 0) + 1

    def remove(self, connection: Connection) -> list[str]:
        """Let a connection go; gives the users that nobody here watches any more."""
        if self.by_number.pop(connection.number, None) is None:
            return []
        del self.shares[connection.number % SHARES][connection.number]
        if not self.by_number:
            self.emptied.set()
        count = self.per_user[connection.user] - 1
        if count:
            self.per_user[connection.user] = count
        else:
            del self.per_user[connection.user]
        return self.unwatch(connection, tuple(connection.session.subscriptions))

    def watch(self, connection: Connection, user: str) -> None:
        """Remember a subscription."""
        connection.session.subscriptions.setdefault(user, b"")
        self.watchers.setdefault(user, set()).add(connection)

    def unwatch(self, connection: Connection, users: Iterable[str]) -> list[str]:
        """Forget subscriptions; gives the users that nobody here watches any more."""
        ended = []
        for user in users:
            connection.session.subscriptions.pop(user, None)
            watchers = self.watchers.get(user)
            if watchers is not None:
                watchers.discard(connection)
                if not watchers:
                    del self.watchers[user]
                    ended.append(user)
        return ended
