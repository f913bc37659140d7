"""Owns what is read back through the protocol in the end: logs, lists, and the sync of a device that never was before.

It must never acknowledge anything: reading changes nothing but the list of a user's devices.
"""

import asyncio
from typing import Any

from chatctl.verify.connection import RawConnection
from chatctl.verify.contract import Frame
from chatctl.verify.final_state import Entry
from chatctl.verify.history import digest


async def read_log(connection: RawConnection, peer: str, *, limit: int = 200) -> list[Entry]:
    """Page through a conversation from its start."""
    entries: list[Entry] = []
    more = True
    while more:
        after = entries[-1].seq if entries else 0
        page = await _ask(
            connection, {"type": "history", "ref": f"log-{after}", "peer": peer, "after": after, "limit": limit}
        )
        entries += [_entry(message) for message in page["messages"]]
        more = page["more"] and bool(page["messages"])
    return entries


def _entry(message: Frame) -> Entry:
    body = digest(message["body"])
    return Entry(message["seq"], message["from"], message["id"], message["ts"], body, message["state"])


async def read_list(connection: RawConnection) -> dict[str, int]:
    """Page through the user's conversations; gives the last number with each peer."""
    found: dict[str, int] = {}
    cursor: str | None = None
    page_number = 0
    while page_number == 0 or cursor is not None:
        page_number += 1
        page = await _ask(connection, {"type": "conversations", "ref": f"list-{page_number}", "cursor": cursor})
        found |= {item["peer"]: item["last"] for item in page["items"]}
        cursor = page["cursor"]
    return found


def last_of_sync(pages: list[Frame]) -> dict[str, int]:
    """Return the last number with each peer that a whole sync named."""
    return {named["peer"]: named["last"] for page in pages for named in page["conversations"]}


async def _ask(connection: RawConnection, ask: dict[str, Any]) -> Frame:
    while True:
        await connection.send({name: value for name, value in ask.items() if value is not None})
        answer = await connection.receive_answer(ask["ref"])
        if answer["type"] != "error":
            return answer
        await asyncio.sleep(answer["retry_after_ms"] / 1000)
