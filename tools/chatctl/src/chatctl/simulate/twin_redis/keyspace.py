"""Owns what lies in the twin of Redis: strings, hashes and sorted sets under keys that may expire. No I/O."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

from redis.exceptions import ResponseError

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

T = TypeVar("T")


class SortedSet(dict[bytes, float]):
    """Members by score; read in the order of score, then of bytes."""

    def ordered(self) -> list[tuple[bytes, float]]:
        """Give the members in their order."""
        return sorted(self.items(), key=lambda pair: (pair[1], pair[0]))


class Keyspace:
    """Keys, their values, and when they expire. `now_ms` is the server's clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._values: dict[bytes, Any] = {}
        self._expires: dict[bytes, int] = {}

    def get(self, key: bytes, kind: type[T]) -> T | None:
        """Give the value of a key. Raises `ResponseError` for one of another type."""
        deadline = self._expires.get(key)
        if deadline is not None and deadline <= self.now_ms():
            self.delete(key)
        value = self._values.get(key)
        if value is None or isinstance(value, kind):
            return value
        raise ResponseError(WRONG_TYPE)

    def make(self, key: bytes, kind: type[T]) -> T:
        """Give the value of a key, an empty one where there is none."""
        value = self.get(key, kind)
        if value is None:
            value = self._values[key] = kind()
        return value

    def put(self, key: bytes, value: Any, expires_ms: int | None = None) -> None:
        """Set a key, with its deadline or without."""
        self._values[key] = value
        if expires_ms is None:
            self._expires.pop(key, None)
        else:
            self._expires[key] = expires_ms

    def expire(self, key: bytes, expires_ms: int) -> bool:
        """Set the deadline of a key that is there."""
        if self.get(key, object) is None:
            return False
        self._expires[key] = expires_ms
        return True

    def deadline(self, key: bytes) -> int | None:
        """Give when a key expires, None for one that does not."""
        return self._expires.get(key)

    def delete(self, key: bytes) -> bool:
        """Remove a key."""
        self._expires.pop(key, None)
        return self._values.pop(key, None) is not None

    def drop_empty(self, key: bytes) -> None:
        """Remove a hash or a sorted set that became empty, as Redis does."""
        if not self._values.get(key, True):
            self.delete(key)

    def copy(self) -> Any:
        """Give what `restore` takes: all of it as it stands."""
        return deepcopy(self._values), dict(self._expires)

    def restore(self, kept: Any) -> None:
        """Be as it stood."""
        values, expires = kept
        self._values, self._expires = deepcopy(values), dict(expires)

    def clear(self) -> list[bytes]:
        """Remove everything; gives the keys that were there."""
        keys = list(self._values)
        self._values.clear()
        self._expires.clear()
        return keys
