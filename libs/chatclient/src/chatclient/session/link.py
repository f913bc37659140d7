"""The connection's life: dial, welcome, silence, goaway, and the way back (PROTOCOL sections 3, 5, 6).

Owns the table of close codes and the backoff. Never looks into a conversation.
"""

from enum import Enum, auto

from chatclient.session.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_LAST_S,
    GOAWAY_MAX_S,
    SILENCE_S,
    WELCOME_S,
)

FINAL_CLOSES = {1007: "invalid UTF-8", 1008: "policy", 1009: "frame too large", 4403: "revoked"}
"""Close codes after which coming back would change nothing; 4401 and 4409 depend (see `Link.lost`)."""
TOKEN_EXPIRED, REPLACED = 4401, 4409
FINAL_STATUSES = frozenset({400, 403, 426})
"""Handshake answers that name a fault of ours."""
REFUSED_TOKENS = 2
"""Tokens that a renewing source may offer in a row; a third would be refused like them."""


class Phase(Enum):
    """Where the connection is."""

    IDLE = auto()
    WAITING = auto()
    DIALING = auto()
    ONLINE = auto()
    LEAVING = auto()
    OVER = auto()


class Link:
    """One connection after the other. `due` is the next time at which `tick` does something."""

    def __init__(self, *, renewable: bool) -> None:
        self.phase = Phase.IDLE
        self.due: float | None = None
        self._renewable = renewable
        self._attempt = 0
        self._refused_tokens = 0
        self._replaced = False
        self._heard_at = 0.0
        self._leave_at: float | None = None

    @property
    def online(self) -> bool:
        """Whether frames may be sent."""
        return self.phase is Phase.ONLINE

    def dial(self, now: float) -> None:
        """A connection is being opened; it has a bounded time up to `welcome`."""
        self.phase, self.due, self._leave_at = Phase.DIALING, now + WELCOME_S, None

    def heard(self, now: float) -> None:
        """Something came, whatever it was."""
        if self.online:
            self._heard_at = now
            self._watch()

    def welcome(self, now: float) -> None:
        """The connection works."""
        self.phase = Phase.ONLINE
        self.heard(now)

    def steady(self) -> None:
        """A sync finished: the next loss starts the backoff, and the token count, anew."""
        self._attempt = self._refused_tokens = 0

    def goaway(self, after_s: float, now: float) -> None:
        """The gateway drains: leave after that time; the connection works until then."""
        self._leave_at = now + min(max(after_s, 0.0), GOAWAY_MAX_S)
        self._watch()

    def leave(self) -> None:
        """The connection is being dropped; its end is still to be told."""
        self.phase, self.due = Phase.LEAVING, None

    def lost(self, close_code: int | None, luck: float, now: float) -> str | None:
        """Plan the way back, or say why there is none."""
        if close_code in FINAL_CLOSES:
            return self._over(FINAL_CLOSES[close_code])
        if close_code == TOKEN_EXPIRED and not self._renewable:
            return self._over("token expired")
        if close_code == REPLACED and self._replaced:
            return self._over("replaced by another connection of this device")
        # Once for each connection that was not itself such a return: two programs must not oust each other for ever.
        self._replaced = close_code == REPLACED
        if self._leave_at is not None and close_code in (None, 1000, 1001, 1006, 1012):
            self._wait_until(max(now, self._leave_at))
        else:
            self._wait_until(now + self._backoff(luck))
        return None

    def refused(self, status: int, code: str, retry_after_s: float, luck: float, now: float) -> str | None:
        """Plan another attempt after a failed handshake, or say why there is none."""
        if status in FINAL_STATUSES:
            return self._over(code)
        if status == 401:
            self._refused_tokens += 1
            if not self._renewable or self._refused_tokens > REFUSED_TOKENS:
                return self._over(code)
        self._wait_until(now + max(retry_after_s, self._backoff(luck)))
        return None

    def expired(self, now: float) -> bool:
        """Whether the open or opening connection must be dropped now."""
        active = self.phase in (Phase.DIALING, Phase.ONLINE)
        return active and self.due is not None and now >= self.due

    def ready(self, now: float) -> bool:
        """Whether it is time to dial."""
        return self.phase is Phase.WAITING and self.due is not None and now >= self.due

    def _wait_until(self, at: float) -> None:
        self.phase, self.due, self._leave_at = Phase.WAITING, at, None

    def _backoff(self, luck: float) -> float:
        ceiling = min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2.0 ** min(self._attempt, 10))
        self._attempt += 1
        return luck * ceiling

    def _watch(self) -> None:
        silent_at = self._heard_at + SILENCE_S
        self.due = silent_at if self._leave_at is None else min(silent_at, self._leave_at)

    def _over(self, reason: str) -> str:
        self.phase, self.due = Phase.OVER, None
        return reason
