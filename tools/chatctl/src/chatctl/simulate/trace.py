"""Owns what a run did, step by step, as a digest: two runs with the same digest went the same way."""

from collections.abc import Callable
from hashlib import blake2b


class Trace:
    """Notes of a run. `tell` hears each, for who wants to read along."""

    def __init__(self, now_s: Callable[[], float], tell: Callable[[str], None] | None = None) -> None:
        self._now_s = now_s
        self._tell = tell
        self._digest = blake2b(digest_size=8)

    def note(self, kind: str, *what: object) -> None:
        """Note what happens now."""
        line = f"{self._now_s():.6f} {kind} {' '.join(str(one) for one in what)}"
        self._digest.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    @property
    def digest(self) -> str:
        """The whole way, in 16 characters."""
        return self._digest.hexdigest()
