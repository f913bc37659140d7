"""Owns the identifiers of the system: what is a valid one, and what is derived from two users.

Pure. All ids are compared byte for byte (PROTOCOL section 3).
"""

import re
from hashlib import blake2b
from typing import Final, NewType

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
ClientId = NewType("ClientId", str)
"""The `id` that a client gives to a send: with the conversation and the sender it names one message for ever."""
ConversationId = NewType("ConversationId", bytes)
"""16 bytes, see `conversation_id`."""
Seq = NewType("Seq", int)
"""The number of a message in its conversation, from 1, without holes. 0 is before the first."""
Partition = NewType("Partition", int)
GatewayId = NewType("GatewayId", str)
"""The gateway's name and a random part of its process start: no two starts share one (R1b)."""
ConnectionNumber = NewType("ConnectionNumber", int)
"""Counts the connections of one gateway process, from 1."""

USER_ID_PATTERN: Final = r"[A-Za-z0-9._\-@:+]{1,64}"
DEVICE_ID_PATTERN: Final = r"[A-Za-z0-9._\-]{1,64}"
CLIENT_ID_PATTERN: Final = r"[A-Za-z0-9_\-]{1,64}"
"""For `id` and `ref` of a frame. No pattern is anchored: Python's `$` lets a newline pass, so use these."""

is_user_id: Final = re.compile(USER_ID_PATTERN).fullmatch
is_device_id: Final = re.compile(DEVICE_ID_PATTERN).fullmatch
is_client_id: Final = re.compile(CLIENT_ID_PATTERN).fullmatch


def conversation_id(one: str, other: str) -> ConversationId:
    """Name the conversation of two users: the 128-bit BLAKE2b of both ids in order with a NUL between.

    NUL is in no id, so no two pairs share an input; 128 bits make a collision of two pairs a matter of
    2**64 conversations, and the owner of a conversation refuses rows whose users differ (R1e).
    """
    low, high = (one, other) if one < other else (other, one)
    return ConversationId(blake2b(f"{low}\0{high}".encode(), digest_size=16).digest())


def partition_of(conversation: ConversationId, partitions: int) -> Partition:
    """Place a conversation in one of `partitions` (R1): its first 8 bytes, big-endian, modulo their number."""
    return Partition(int.from_bytes(conversation[:8], "big") % partitions)
