"""Requests that carry `ref`: kept until answered, made again after 10 s and on a new connection.

Owns rule 3 of PROTOCOL section 6 for requests. Knows nothing of what they ask.
"""

from dataclasses import dataclass
from typing import Any

from chatclient.session.limits import ANSWER_S


@dataclass(slots=True)
class Pending:
    """A request without an answer; `again_at` is None until it was made on this connection."""

    frame: dict[str, Any]
    again_at: float | None = None


class Requests:
    """All requests without an answer, by `ref`."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}
        self._open = False

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, ref: str) -> bool:
        return ref in self._pending

    @property
    def due(self) -> float | None:
        """When `pump` has something to send; in the past for what was never made."""
        if not self._open:
            return None
        times = [float("-inf") if p.again_at is None else p.again_at for p in self._pending.values()]
        return min(times, default=None)

    def open(self) -> None:
        """A connection said welcome: everything is asked again."""
        self._open = True
        for pending in self._pending.values():
            pending.again_at = None

    def close(self) -> None:
        """The connection is gone."""
        self._open = False

    def ask(self, ref: str, frame: dict[str, Any]) -> None:
        """Take a request in."""
        self._pending[ref] = Pending({**frame, "ref": ref})

    def drop(self, ref: str) -> bool:
        """Forget a request: it was answered, or nobody waits any more."""
        return self._pending.pop(ref, None) is not None

    def postpone(self, ref: str, again_at: float) -> None:
        """A refusal that is not final."""
        self._pending[ref].again_at = again_at

    def pump(self, now: float) -> list[dict[str, Any]]:
        """Take the frames that are to be sent now."""
        if not self._open:
            return []
        out = []
        for pending in self._pending.values():
            if pending.again_at is None or pending.again_at <= now:
                pending.again_at = now + ANSWER_S
                out.append(pending.frame)
        return out
