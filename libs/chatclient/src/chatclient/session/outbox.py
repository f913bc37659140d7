"""Messages without an answer: their order, their pace, and when they are sent again.

Owns rule 3 of PROTOCOL section 6 for sends. Never forgets one without an answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatclient.session.limits import ANSWER_S, ServerLimits
from chatclient.session.records import OutboxAdded

ROUNDING = 1e-6
"""Sends: how far below a whole one the tokens may be, since a wait for the rest could be too short to move a clock."""


@dataclass(slots=True)
class Entry:
    """A message without an answer; `again_at` is None until it was sent on this connection."""

    message: OutboxAdded
    again_at: float | None = None
    refused: bool = False


class Outbox:
    """All sends without an answer, in the order of sending.

    Open means that a connection is there. `pump` is the only way out.
    """

    def __init__(self, messages: tuple[OutboxAdded, ...]) -> None:
        self._entries = {(m.to, m.id): Entry(m) for m in messages}
        self._limits = ServerLimits()
        self._open = False
        self._tokens = 0.0
        self._filled_at = 0.0
        self._in_flight = 0
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
        self._entries.setdefault((message.to, message.id), Entry(message))
        self._due = now

    def open(self, limits: ServerLimits, now: float) -> None:
        """A connection said welcome: everything is sent again, in order."""
        self._limits, self._open = limits, True
        self._tokens, self._filled_at = limits.sends_burst, now
        self._in_flight, self._due = 0, now
        for entry in self._entries.values():
            # A refusal's own time was meant for the connection that is gone; its order holds on.
            entry.again_at = None

    def close(self) -> None:
        """The connection is gone."""
        self._open = False

    def settle(self, to: str, ref: str, now: float) -> OutboxAdded | None:
        """Take an answered message out; None if it had been answered before."""
        entry = self._entries.pop((to, ref), None)
        if entry is None:
            return None
        if entry.again_at is not None:
            self._in_flight -= 1
        self._due = now
        return entry.message

    def owner(self, ref: str) -> str | None:
        """The peer of the message `ref`, which an error names by nothing else."""
        return next((to for to, key in self._entries if key == ref), None)

    def postpone(self, to: str, ref: str, again_at: float) -> None:
        """A refusal that is not final: later sends to that peer wait until it is answered."""
        entry = self._entries[(to, ref)]
        if entry.again_at is None:
            self._in_flight += 1
        entry.again_at, entry.refused = again_at, True
        self._due = again_at if self._due is None else min(self._due, again_at)

    def pump(self, now: float) -> list[dict[str, Any]]:
        """Take the frames that may be sent now, within the server's limits."""
        if not self._open or self._due is None or now < self._due:
            return []
        self._refill(now)
        out, self._due = [], None
        for entry in self._sendable(now):
            if self._tokens < 1 - ROUNDING:
                self._wake(now + (1 - self._tokens) / self._limits.sends_per_s)
                break
            out.append(self._send(entry, now))
        return out

    def _sendable(self, now: float) -> Iterator[Entry]:
        held: set[str] = set()
        for entry in self._entries.values():
            to = entry.message.to
            if to not in held:
                if self._may_go(entry, now):
                    yield entry
                elif entry.again_at is not None:
                    self._wake(entry.again_at)
            if entry.refused:
                held.add(to)

    def _may_go(self, entry: Entry, now: float) -> bool:
        if entry.again_at is None:
            return self._in_flight < self._limits.max_in_flight  # an answer wakes the rest
        return entry.again_at <= now

    def _send(self, entry: Entry, now: float) -> dict[str, Any]:
        self._tokens -= 1
        self._in_flight += entry.again_at is None
        entry.again_at = now + ANSWER_S
        self._wake(entry.again_at)
        message = entry.message
        return {"type": "send", "id": message.id, "to": message.to, "body": message.body}

    def _refill(self, now: float) -> None:
        gained = max(0.0, now - self._filled_at) * self._limits.sends_per_s
        self._tokens = min(self._limits.sends_burst, self._tokens + gained)
        self._filled_at = now

    def _wake(self, at: float) -> None:
        self._due = at if self._due is None else min(self._due, at)
