"""The futures of those who wait: for `sent` by (peer, id), for an answer by ref.

Owns every future it hands out; each ends exactly once, at the latest when the chat is closed.
"""

import asyncio
from typing import Any

from chatclient.errors import ChatError, RequestRefused, SendRefused
from chatclient.events import Sent


class Answers:
    """Who waits for what."""

    def __init__(self) -> None:
        self._sends: dict[tuple[str, str], asyncio.Future[Sent]] = {}
        self._requests: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0

    def expect_sent(self, to: str, ref: str) -> asyncio.Future[Sent]:
        """Wait for a message's `sent`; those who send it twice wait together."""
        key = (to, ref)
        future = self._sends.get(key)
        if future is None or future.done():
            future = self._sends[key] = asyncio.get_running_loop().create_future()
        return future

    def expect_answer(self) -> tuple[str, asyncio.Future[dict[str, Any]]]:
        """Wait for the answer to a new request; return its ref too."""
        self._count += 1
        ref = f"q-{self._count}"
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._requests[ref] = future
        return ref, future

    def forget(self, ref: str) -> None:
        """Nobody waits for this request any more."""
        self._requests.pop(ref, None)

    def settle(self, sent: Sent) -> bool:
        """A message was committed; False if nobody waited for it."""
        future = self._sends.pop((sent.peer, sent.id), None)
        if future is None or future.done():
            return False
        future.set_result(sent)
        return True

    def answer(self, ref: str, frame: dict[str, Any]) -> None:
        """A request was answered."""
        future = self._requests.pop(ref, None)
        if future is not None and not future.done():
            future.set_result(frame)

    def reject(self, ref: str, peer: str | None, code: str, message: str) -> bool:
        """A send (with `peer`) or a request was refused for good; False if nobody waited."""
        future: asyncio.Future[Any] | None
        error: ChatError
        if peer is None:
            future, error = self._requests.pop(ref, None), RequestRefused(code, message)
        else:
            future, error = self._sends.pop((peer, ref), None), SendRefused(code, message)
        if future is None or future.done():
            return False
        future.set_exception(error)
        future.exception()  # whoever waits still gets it; one who was cancelled needs no warning
        return True

    def end(self, reason: ChatError) -> None:
        """Nothing will be answered any more."""
        waiting: list[asyncio.Future[Any]] = [*self._sends.values(), *self._requests.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(reason)
                future.exception()  # whoever waits still gets it; the others need no warning
        self._sends.clear()
        self._requests.clear()
