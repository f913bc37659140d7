"""When acknowledgements go out (PROTOCOL section 6, rule 2): many become one frame per peer.

Knows peers and times only; what is acknowledged is read off the log at the moment of sending.
"""

from chatclient.session.limits import ACK_PAUSE_S, OWN_ACK_S


class Acks:
    """The peers that wait for an acknowledgement, and the time it is due."""

    def __init__(self) -> None:
        self._peers: set[str] = set()
        self._due: float | None = None
        self._last = float("-inf")

    @property
    def due(self) -> float | None:
        """When `collect` has something; None while nothing waits."""
        return self._due

    def incoming(self, peer: str, now: float) -> None:
        """Acknowledge a message of the peer's, or the user's reading."""
        self._add(peer, max(now, self._last + ACK_PAUSE_S))

    def own(self, peer: str, now: float) -> None:
        """Acknowledge a message of one's own."""
        self._add(peer, now + OWN_ACK_S)

    def hurry(self, now: float) -> None:
        """Let whatever waits be due: there is no later."""
        if self._peers:
            self._due = now

    def collect(self, now: float) -> list[str]:
        """Take the peers to acknowledge now; what waits longer goes along, it saves a turn."""
        if self._due is None or now < self._due:
            return []
        peers = sorted(self._peers)
        self.reset()
        self._last = now
        return peers

    def reset(self) -> None:
        """Forget what waits: the connection is gone, and the next sync repeats it (rule 5)."""
        self._peers.clear()
        self._due = None

    def _add(self, peer: str, due: float) -> None:
        self._peers.add(peer)
        self._due = due if self._due is None else min(self._due, due)
