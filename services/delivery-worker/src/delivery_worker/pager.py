"""Owns the pages of syncs, histories and lists: their order, their size, their tokens (R4b, R4c). Pure."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson
from chatcore.delivery import MessageRow
from chatcore.delivery.frames import message_fields
from chatcore.ids import ConversationId, UserId

PAGE_BYTES: Final = 64 * 1024
"""Of a page of a sync; one message alone may be longer."""
FRAME_BYTES: Final = 256 * 1024
"""Of any frame to a client (PROTOCOL section 3)."""
ENVELOPE_BYTES: Final = 512
"""Room for the fields around the lists of a page."""
MARGIN_MS: Final = 60_000
"""A token is that much older than its sync: no transaction stays open so long after it has read its stamp (R4c)."""


class Member(NamedTuple):
    """A user's side of a conversation, and a device's cursor in it, as they stand in MySQL."""

    conversation: ConversationId
    peer: UserId
    last: int
    last_ts: int
    delivered: int
    read: int
    peer_delivered: int
    peer_read: int
    stamp: int
    cursor: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where a sync stands between two pages."""

    token_ms: int
    """The token of the whole sync, fixed by its first page."""
    seq: int
    """The last message that was sent of the first of `rest`; -1: that conversation was not named yet."""
    rest: tuple[ConversationId, ...]
    """The conversations to come, in the order that the first page fixed: so each comes once, whatever changes."""

    def encode(self) -> str:
        """Write it for the gateway to send back."""
        return f"{self.token_ms}.{self.seq}.{urlsafe_b64encode(b''.join(self.rest)).decode()}"

    @classmethod
    def decode(cls, text: str) -> "Position":
        """Read what `encode` wrote. Raises `ValueError`."""
        token_ms, seq, rest = text.split(".")
        ids = urlsafe_b64decode(rest)
        if len(ids) % 16:
            raise ValueError("a position with a broken conversation id")
        return cls(int(token_ms), int(seq), tuple(ConversationId(ids[i : i + 16]) for i in range(0, len(ids), 16)))


def encode_token(epoch: str, token_ms: int, user: str, device: str) -> str:
    """Write the token of a finished sync: another device's would hide what this one lacks, so it is bound to one."""
    return f"{epoch}.{token_ms}.{_owner(user, device)}"


def decode_token(token: str, epoch: str, user: str, device: str) -> int:
    """Read the time in a token; 0, a full sync, for one that is unusable or of another epoch."""
    parts = token.split(".")
    if len(parts) != 3 or parts[0] != epoch or parts[2] != _owner(user, device):
        return 0
    return int(parts[1]) if parts[1].isdecimal() and len(parts[1]) < 19 else 0


def _owner(user: str, device: str) -> str:
    return blake2b(f"{user}\0{device}".encode(), digest_size=6).hexdigest()


def token_of(now: int, members: Sequence[Member]) -> int:
    """Place a sync's token: before every open transaction, and below every conversation in which the device lags."""
    lagging = [member.stamp - 1 for member in members if member.cursor < member.last]
    return max(0, min([now - MARGIN_MS, *lagging]))


class PageBuilder:
    """Fills one page of a sync, conversation by conversation."""

    def __init__(self) -> None:
        self._conversations: list[dict[str, Any]] = []
        self._messages: list[dict[str, Any]] = []
        self._room = PAGE_BYTES - ENVELOPE_BYTES

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return self._room

    def name(self, member: Member) -> bool:
        """Add a conversation; False when the page is full."""
        fields = conversation_fields(member)
        if not self._fits(fields):
            return False
        self._conversations.append(fields)
        return True

    def add(self, row: MessageRow, peer: str) -> bool:
        """Add a message; False when the page is full. A message that is larger than a page has one for itself."""
        fields = message_fields(row, peer)
        if not self._fits(fields):
            if self._messages or self._conversations:
                return False
            self._room = 0
        self._messages.append(fields)
        return True

    def frame(self, *, token: str | None) -> bytes:
        """Write the page; with the token, it is the last."""
        return orjson.dumps(
            {
                "type": "sync",
                "conversations": self._conversations,
                "messages": self._messages,
                "done": token is not None,
                "token": token,
            }
        )

    def _fits(self, fields: dict[str, Any]) -> bool:
        size = len(orjson.dumps(fields)) + 1
        if size > self._room:
            return False
        self._room -= size
        return True


def conversation_fields(member: Member) -> dict[str, Any]:
    """Give the fields of a conversation in `sync`."""
    return {
        "peer": member.peer,
        "last": member.last,
        "cursor": member.cursor,
        "read": member.read,
        "peer_delivered": member.peer_delivered,
        "peer_read": member.peer_read,
    }


def state_of(row: MessageRow, user: str, member: Member) -> str:
    """Read a message's state off the watermarks: the highest that holds (PROTOCOL section 2)."""
    if row.sender == user:
        own, other, other_read = member.delivered, member.peer_delivered, member.peer_read
    else:
        own, other, other_read = member.peer_delivered, member.delivered, member.read
    if other_read >= row.seq:
        return "read"
    if other >= row.seq:
        return "delivered"
    return "sent" if own >= row.seq else "created"


def history_frame(
    user: str, member: Member, rows: Sequence[MessageRow], *, ref: str | None, limit: int, forward: bool
) -> bytes:
    """Write a page of a conversation from up to `limit + 1` rows, the nearest to the bound first."""
    kept: list[dict[str, Any]] = []
    room = FRAME_BYTES - ENVELOPE_BYTES
    for row in rows[:limit]:
        fields = {**message_fields(row, member.peer), "state": state_of(row, user, member)}
        room -= len(orjson.dumps(fields)) + 1
        if room < 0:
            break
        kept.append(fields)
    more = len(kept) < len(rows)
    if not forward:
        kept.reverse()
    return orjson.dumps({"type": "history", **_ref(ref), "peer": member.peer, "messages": kept, "more": more})


class Item(NamedTuple):
    """A conversation in a list."""

    member: Member
    unread: int
    last_message: MessageRow | None


def conversations_frame(user: str, items: Sequence[Item], *, ref: str | None, limit: int) -> bytes:
    """Write a page of the user's conversations from up to `limit + 1` items, the latest first."""
    kept: list[dict[str, Any]] = []
    room = FRAME_BYTES - ENVELOPE_BYTES
    for item in items[:limit]:
        fields = _item_fields(user, item)
        room -= len(orjson.dumps(fields)) + 1
        if room < 0:
            break
        kept.append(fields)
    more = len(kept) < len(items)
    cursor = encode_cursor(items[len(kept) - 1].member) if more and kept else None
    return orjson.dumps({"type": "conversations", **_ref(ref), "items": kept, "cursor": cursor})


def _item_fields(user: str, item: Item) -> dict[str, Any]:
    last, member = item.last_message, item.member
    message = {**message_fields(last, member.peer), "state": state_of(last, user, member)} if last else None
    return {**conversation_fields(member), "ts": member.last_ts, "unread": item.unread, "last_message": message}


def encode_cursor(member: Member) -> str:
    """Write where a list of conversations goes on."""
    return f"{member.last_ts}.{member.conversation.hex()}"


def decode_cursor(cursor: str) -> tuple[int, bytes]:
    """Read what `encode_cursor` wrote. Raises `ValueError`."""
    last_ts, _, conversation = cursor.partition(".")
    value = bytes.fromhex(conversation)
    if len(value) != 16 or not last_ts.isdecimal() or len(last_ts) > 18:
        raise ValueError("not a cursor")
    return int(last_ts), value


def _ref(ref: str | None) -> dict[str, str]:
    return {} if ref is None else {"ref": ref}
