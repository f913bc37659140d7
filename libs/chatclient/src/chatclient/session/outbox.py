"""Messages without an answer: their order, their pace, and when they are sent again.

Owns rule 3 of PROTOCOL section 6 for sends. Never forgets one without an answer.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import Any

from chatclient.session.limits import ANSWER_S, ServerLimits
from chatclient.session.records import OutboxAdded

ROUNDING = 1e-6
"""Sends: how far below a whole one the tokens may be, since a wait for the rest could be too short to move a clock."""

Key = tuple[str, str]
"""The peer, and the message's id."""


@dataclass(slots=True)
class Entry:
    """A message without an answer; `again_at` matters once it was sent on this connection."""

    message: OutboxAdded
    again_at: float = inf


class Outbox:
    """All sends without an answer, in the order of sending.

    Open means that a connection is there. `pump` is the only way out. What was sent on this connection is in
    flight, the rest waits: so an answer costs the same however many messages there are.
    """

    def __init__(self, messages: tuple[OutboxAdded, ...]) -> None:
        self._entries: dict[Key, Entry] = {(m.to, m.id): Entry(m) for m in messages}
        self._waiting: OrderedDict[Key, Entry] = OrderedDict(self._entries)
        self._flight: dict[Key, Entry] = {}
        self._peers: dict[str, str] = {}
        self._refused: set[Key] = set()
        self._limits = ServerLimits()
        self._open = False
        self._tokens = 0.0
        self._filled_at = 0.0
        self._retry_at = inf
        self._due: float | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    @property
    def due(self) -> float | None:
        """When `pump` may have something to send."""
        return self._due if self._open else None

    def messages(self) -> tuple[OutboxAdded, ...]:
        """All that waits, in the order of sending."""
        return tuple(entry.message for entry in self._entries.values())

    def add(self, message: OutboxAdded, now: float) -> None:
        """Take a message in, behind all others."""
        key = (message.to, message.id)
        if key not in self._entries:
            self._entries[key] = self._waiting[key] = Entry(message)
        self._due = now

    def open(self, limits: ServerLimits, now: float) -> None:
        """A connection said welcome: everything is sent again, in order."""
        self._limits, self._open = limits, True
        self._tokens, self._filled_at = limits.sends_burst, now
        self._retry_at, self._due = inf, now
        # A refusal's own time was meant for the connection that is gone; its order holds on.
        self._waiting = OrderedDict(self._entries)
        self._flight.clear()
        self._peers.clear()

    def close(self) -> None:
        """The connection is gone."""
        self._open = False

    def settle(self, to: str, ref: str, now: float) -> OutboxAdded | None:
        """Take an answered message out; None if it had been answered before."""
        key = (to, ref)
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._waiting.pop(key, None)
        if self._flight.pop(key, None) is not None:
            del self._peers[ref]
        if key in self._refused:
            self._refused.remove(key)
            self._retry_at = now  # what it held back may be overdue
        self._due = now
        return entry.message

    def owner(self, ref: str) -> str | None:
        """The peer of the message `ref` in flight, which an error names by nothing else."""
        return self._peers.get(ref)

    def postpone(self, to: str, ref: str, again_at: float) -> None:
        """A refusal that is not final: later sends to that peer wait until it is answered."""
        key = (to, ref)
        if key not in self._flight:
            return  # not sent on this connection: it waits for its turn anyway
        self._flight[key].again_at = again_at
        self._refused.add(key)
        self._retry_at = min(self._retry_at, again_at)
        self._wake(again_at)

    def pump(self, now: float) -> list[dict[str, Any]]:
        """Take the frames that may be sent now, within the server's limits."""
        if not self._open or self._due is None or now < self._due:
            return []
        self._refill(now)
        self._due = None
        out = self._again(now) if self._retry_at <= now else []
        out += self._first(now)
        if now < self._retry_at < inf:
            self._wake(self._retry_at)
        return out

    def _again(self, now: float) -> list[dict[str, Any]]:
        """Repeat what had no answer for too long, and what was refused, when its time has come."""
        out: list[dict[str, Any]] = []
        held: set[str] = set()
        self._retry_at = inf
        for key, entry in self._flight.items():
            if key[0] in held:
                continue
            if entry.again_at <= now and self._may_send(now):
                out.append(self._send(entry, now))
            self._retry_at = min(self._retry_at, entry.again_at)
            if key in self._refused:
                held.add(key[0])
        return out

    def _first(self, now: float) -> list[dict[str, Any]]:
        """Send what was not sent on this connection yet, in order, as far as the window goes.

        Never one id to two peers at once: an error could mean either.
        """
        out: list[dict[str, Any]] = []
        went: list[Key] = []
        room = self._limits.max_in_flight - len(self._flight)  # an answer wakes the rest
        held = {key[0] for key in self._refused if key in self._flight}
        for key, entry in self._waiting.items():
            if len(went) >= room or not (key[0] in held or self._may_send(now)):
                break
            if key[0] in held:
                continue
            if key[1] in self._peers:
                held.add(key[0])
                continue
            out.append(self._send(entry, now))
            went.append(key)
            self._peers[key[1]] = key[0]
            if key in self._refused:
                held.add(key[0])
        for key in went:
            self._flight[key] = self._waiting.pop(key)
        return out

    def _may_send(self, now: float) -> bool:
        if self._tokens >= 1 - ROUNDING:
            return True
        self._wake(now + (1 - self._tokens) / self._limits.sends_per_s)
        return False

    def _send(self, entry: Entry, now: float) -> dict[str, Any]:
        self._tokens -= 1
        entry.again_at = now + ANSWER_S
        self._retry_at = min(self._retry_at, entry.again_at)
        message = entry.message
        return {"type": "send", "id": message.id, "to": message.to, "body": message.body}

    def _refill(self, now: float) -> None:
        gained = max(0.0, now - self._filled_at) * self._limits.sends_per_s
        self._tokens = min(self._limits.sends_burst, self._tokens + gained)
        self._filled_at = now

    def _wake(self, at: float) -> None:
        self._due = at if self._due is None else min(self._due, at)
