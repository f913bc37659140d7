"""Owns who holds which row, who waits for it, and who would wait for ever. No I/O, no clock."""

from collections.abc import Callable
from typing import Any

Grant = Callable[[], None]


class Locks:
    """Exclusive locks on keys, granted in the order in which they were asked for."""

    def __init__(self) -> None:
        self._holders: dict[Any, object] = {}
        self._queues: dict[Any, dict[object, Grant]] = {}
        self._held: dict[object, dict[Any, None]] = {}
        self._wanted: dict[object, Any] = {}

    def take(self, owner: object, key: Any) -> bool:
        """Take a free lock, or say that somebody else holds it."""
        holder = self._holders.setdefault(key, owner)
        if holder is not owner:
            return False
        self._held.setdefault(owner, {})[key] = None
        return True

    def is_free(self, owner: object, key: Any) -> bool:
        """Whether `owner` could take it."""
        return self._holders.get(key, owner) is owner

    def wait(self, owner: object, key: Any, grant: Grant) -> None:
        """Wait in line; `grant` is called when the lock is `owner`'s."""
        self._queues.setdefault(key, {})[owner] = grant
        self._wanted[owner] = key

    def would_deadlock(self, owner: object, key: Any) -> bool:
        """Whether who holds `key` waits, perhaps over others, for `owner`."""
        holder: object | None = self._holders.get(key)
        while holder is not None and holder is not owner:
            wanted = self._wanted.get(holder)
            holder = self._holders.get(wanted) if wanted is not None else None
        return holder is owner

    def give_up(self, owner: object) -> None:
        """Wait no more."""
        key = self._wanted.pop(owner, None)
        if key is not None:
            self._queues[key].pop(owner, None)

    def release(self, owner: object) -> None:
        """Let go of everything; the next in each line gets it."""
        self.give_up(owner)
        for key in self._held.pop(owner, {}):
            del self._holders[key]
            queue = self._queues.get(key)
            if not queue:
                self._queues.pop(key, None)
                continue
            following = next(iter(queue))
            grant = queue.pop(following)
            del self._wanted[following]
            self.take(following, key)
            grant()
