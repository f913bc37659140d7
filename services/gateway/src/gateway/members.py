"""Owns the changes to this gateway's own members: entered, removed in order, and none left behind (R4).

| Key                   | Type | TTL | Written by | Read by |
|-----------------------|------|-----|------------|---------|
| `chat:devices:{user}` | zset | -   | here: own members | all |

A removal is repeated until Redis answered. It must never remove another gateway's member.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from chatcore.errors import StoreUnavailable
from chatcore.ids import UserId
from chatcore.keys import Keys
from chatcore.stream import Disconnected

PIECE: Final = 500
"""Changes in one pipeline. After an outage there is one for each connection that left meanwhile, and redis-py packs on
the event loop."""

ENTER: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entered = ARGV[2]
if entered == '0' then
  local at, device = now, string.match(ARGV[1], '^[^|]*|')
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local other = string.sub(member, 1, #device) == device and tonumber(string.match(member, '|(%d+)$'))
    if other and other >= at then
      at = other + 1
    end
  end
  entered = string.format('%.0f', at)
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1] .. '|' .. entered)
return entered
"""
"""Enter a member at Redis's own time; gives when it was entered first.

Always later than the device's other members: their order says which one is replaced, and a clock may step back."""


class Sort(Enum):
    """What a change is."""

    ENTER = auto()
    """`member` is without its time."""
    LEAVE = auto()
    """`member` is the whole."""
    FIND = auto()
    """An entry was not answered: look whether it was made, under which time, and remove it. Without its time, too."""


class Change(NamedTuple):
    """A change, in order with the others."""

    sort: Sort
    user: str
    member: str
    entered_ms: int = 0
    """Of a member that is entered again; 0 for the first time."""
    waiter: "asyncio.Future[int] | None" = None
    """Who waits for the member's time."""


class Members:
    """Queues changes for the outbox: never more than a few for each connection that is here or left in an outage."""

    def __init__(self, *, keys: Keys, ttl_ms: int, left: Callable[[Disconnected], object]) -> None:
        self._keys, self._ttl_ms, self._left = keys, ttl_ms, left
        self._queue: deque[Change] = deque()

    def enter(self, user: str, draft: str, entered_ms: int) -> "asyncio.Future[int]":
        """Enter a member; gives its time. Fails with `StoreUnavailable`. Safe to cancel."""
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(Change(Sort.ENTER, user, draft, entered_ms, waiter))
        return waiter

    def leave(self, user: str, member: str) -> None:
        """Remove a member, in order with what was entered before, and tell `left` of it then."""
        self._queue.append(Change(Sort.LEAVE, user, member))

    def take(self, pipeline: Any) -> list[Change]:
        """Add the next changes to a pipeline; the rest waits for the one after."""
        changes = [self._queue.popleft() for _ in range(min(PIECE, len(self._queue)))]
        for sort, user, member, entered_ms, _ in changes:
            key = self._keys.devices(user)
            if sort is Sort.ENTER:
                pipeline.eval(ENTER, 1, key, member, entered_ms, self._ttl_ms)
            elif sort is Sort.LEAVE:
                pipeline.zrem(key, member)
            else:
                pipeline.zrange(key, 0, -1)
        return changes

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._queue)

    def settle(self, changes: Sequence[Change], answers: Sequence[Any]) -> None:
        """Take the answers, each of which may be an error of its own (a full Redis: OOM)."""
        for change, answer in zip(changes, answers, strict=False):
            if isinstance(answer, Exception):
                self._fail(change, str(answer))
            elif change.sort is Sort.ENTER:
                self._entered(change, int(answer))
            elif change.sort is Sort.LEAVE:
                self._left(Disconnected(UserId(change.user), change.member))
            else:
                self._found(change, answer)

    def give_back(self, changes: Sequence[Change]) -> None:
        """Nothing was answered: nobody knows whether they were made."""
        for change in changes:
            self._fail(change, "Redis did not answer")

    def _entered(self, change: Change, entered_ms: int) -> None:
        if change.waiter is None or change.waiter.done():
            # Who waited is gone: it was entered for nobody.
            self.leave(change.user, f"{change.member}|{entered_ms}")
        else:
            change.waiter.set_result(entered_ms)

    def _found(self, change: Change, rows: Sequence[bytes]) -> None:
        for row in rows:
            member = row.decode(errors="replace")
            if member.rpartition("|")[0] == change.member:
                self.leave(change.user, member)

    def _fail(self, change: Change, why: str) -> None:
        if change.sort is not Sort.ENTER:
            self._queue.append(change)
            return
        if not change.entered_ms:
            # It may have been made, and only Redis knows under which time. One that was entered again has its time, and
            # is removed when its connection leaves.
            self._queue.append(Change(Sort.FIND, change.user, change.member))
        if change.waiter is not None and not change.waiter.done():
            change.waiter.set_exception(StoreUnavailable(why))
