"""Owns a short chat between two people, by the client library: whatever is deployed has to bring it about."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from chatclient import Chat, Event, Message, Presence, Receipt, connect
from chatctl.stack.stack_file import JwtSettings
from chatctl.tokens import sign

CHAT_S: Final = 60.0
SECRET: Final = "a secret of the tests that is long enough"
JWT: Final = JwtSettings(secret=SECRET, audience="chat", issuer="chat")

E = TypeVar("E", bound=Event)


async def a_whole_chat(alices: Sequence[str], bobs: Sequence[str], *, jwt: JwtSettings = JWT) -> None:
    """See bob come online, send him a message, and learn that he has read it."""
    alice = connect(list(alices), sign(jwt, "alice"), device="phone")
    bob = connect(list(bobs), sign(jwt, "bob"), device="phone")
    async with asyncio.timeout(CHAT_S), alice:
        alice.subscribe(["bob"])
        async with bob:
            await event(alice, Presence, lambda seen: seen.online)
            sent = await alice.send("bob", "hi")
            heard = await event(bob, Message)
            assert (heard.sender, heard.seq, heard.body) == ("alice", sent.seq, "hi")
            bob.read("alice", heard.seq)
            await event(alice, Receipt, lambda receipt: receipt.read == sent.seq)
        await event(alice, Presence, lambda seen: not seen.online)


async def event(chat: Chat, kind: type[E], wanted: Callable[[E], bool] = lambda _: True) -> E:
    """Wait for an event of a kind that is as wanted."""
    async for one in chat:
        if isinstance(one, kind) and wanted(one):
            return one
    raise AssertionError("the chat ended")
