"""`chat alice bob`: a terminal chat that shows what is promised. Composes the client and the screen.

Never holds a key: tokens come from the function it is given.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from chatclient import ChatError, MemoryState, SqliteState, State, connect

from chatctl.chat_screen import Screen
from chatctl.failure import Failure

DEVICE = "terminal"
"""The device that a chat is unless told otherwise: one name, so that it finds its cursor again."""


def main(
    user: str,
    peer: str,
    *,
    urls: list[str],
    token: Callable[[], str],
    device: str | None = None,
    state_path: Path | None = None,
) -> int:
    """Chat as `user` with `peer` until Ctrl-C; return 0, or 1 when the server ended it for good.

    `token` makes a fresh token each time. With a state file, what was not sent yet goes out at the next start.
    """

    async def fresh() -> str:
        return await asyncio.to_thread(token)

    async def converse() -> int:
        state = _open_state(state_path)
        async with connect(urls, fresh, device=device or DEVICE, state=state) as chat:
            try:
                await Screen(chat, user, peer).run()
            finally:
                unsent = len(chat.unsent())
        if unsent:
            print(f"{unsent} not sent yet; " + ("the next start sends them." if state_path else "they are lost."))
        return 0

    try:
        return asyncio.run(converse())
    except ChatError as error:
        print(f"chatctl: {error}", file=sys.stderr)
        return 1


def _open_state(path: Path | None) -> State:
    if path is None:
        return MemoryState()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return SqliteState(path)
    except sqlite3.OperationalError as error:
        advice = "close the other chat of this user and device, or give this one another --device"
        raise Failure(f"the chat's state {path} cannot be used: {error}", advice=advice) from None
