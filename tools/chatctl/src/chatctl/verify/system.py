"""Owns what the checker may know of the system that it judges, and the shape of one that it did not start itself.

A private scene fulfils `System` as well, with its stores behind it.
"""

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, runtime_checkable

from redis.asyncio import Redis

from chatctl.failure import Failure

TOKEN_S: Final = 30
"""Seconds for one run of the token command."""


class System(Protocol):
    """A running system, seen from its clients' side."""

    @property
    def gateways(self) -> Sequence[str]:
        """The base URLs of its WebSockets."""

    def token(self, user: str, device: str | None = None, *, ttl_s: float = 3600) -> str:
        """Return a token of that user."""

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until every service is ready. Raises `TimeoutError`."""


@runtime_checkable
class Stores(Protocol):
    """A system whose stores can be read as well."""

    def mysql(self) -> AbstractAsyncContextManager[Any]:
        """Open a connection to its MySQL."""

    def redis(self) -> Redis:
        """Return a client of its Redis; the caller closes it."""


class Remote:
    """A system that runs elsewhere: its gateways, and a command that prints a token for the user in its last word.

    A token is made once per user and kept: make them valid for the length of the run.
    """

    def __init__(self, gateways: Sequence[str], token_command: str, *, disturbed: bool = False) -> None:
        self.gateways = list(gateways)
        self.disturbed = disturbed
        """Somebody else breaks it while the clients talk: only what comes after is judged by seconds."""
        self._command = token_command
        self._tokens: dict[str, str] = {}

    async def prepare(self, users: Sequence[str]) -> None:
        """Make the tokens of these users, a few at a time. Raises `Failure`."""
        gate = asyncio.Semaphore(8)

        async def make(user: str) -> None:
            async with gate:
                self._tokens[user] = await asyncio.to_thread(self._made, user)

        await asyncio.gather(*(make(user) for user in users))

    def token(self, user: str, device: str | None = None, *, ttl_s: float = 3600) -> str:
        """Return the token that `prepare` made: to make one here would hold up every client of the run."""
        return self._tokens[user]

    def _made(self, user: str) -> str:
        command = f"{self._command} {user}"
        advice = "the command gets the user as its last word, and prints a token"
        try:
            done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=TOKEN_S, check=True)  # noqa: S602 - the caller's own command line
        except (subprocess.SubprocessError, OSError) as error:
            raise Failure(f"`{command}` failed: {error}", advice=advice) from None
        words = done.stdout.split()
        if not words:
            raise Failure(f"`{command}` printed no token", advice=advice)
        return words[-1]

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """It is taken for ready."""
