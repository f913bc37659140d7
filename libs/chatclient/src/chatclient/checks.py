"""What a client can know of a frame before it sends it: a server would refuse it, or close.

Decides on form alone. Never looks into what a body says.
"""

import re

import orjson

from chatclient.errors import SendRefused
from chatclient.session.limits import ServerLimits

_USER = re.compile(r"[A-Za-z0-9._\-@:+]{1,64}")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_DEVICE = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_REST_BYTES = len('{"type":"send","id":"","to":"","body":}') + 128
"""Bytes of a send beside its body: the fields' names and two ids of 64."""


def check_device(device: str) -> None:
    """Raise ValueError for an id that no gateway would take."""
    if _DEVICE.fullmatch(device) is None:
        raise ValueError("a device is 1 to 64 of A-Z a-z 0-9 . _ -")


def check_user(user: str) -> None:
    """Raise SendRefused for an id that no user can have."""
    if _USER.fullmatch(user) is None:
        raise SendRefused("invalid_recipient", "a user is 1 to 64 of A-Z a-z 0-9 . _ - @ : +")


def check_send(message_id: str, to: str, body: str, limits: ServerLimits) -> None:
    """Raise SendRefused for a message that would be refused; too large a frame would close."""
    check_user(to)
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise SendRefused("invalid_frame", "an id is 1 to 64 of A-Z a-z 0-9 _ -")
    try:
        size = len(body.encode())
    except UnicodeEncodeError:
        raise SendRefused("invalid_frame", "a body has no lone surrogates") from None
    if size == 0:
        raise SendRefused("invalid_frame", "a body is not empty")
    if size > limits.max_body_bytes:
        raise SendRefused("too_large", f"a body has at most {limits.max_body_bytes} bytes")
    # Control characters take six bytes each: such a body may fit where its frame does not.
    if len(orjson.dumps(body)) + _REST_BYTES > limits.max_frame_bytes:
        raise SendRefused("too_large", f"a frame has at most {limits.max_frame_bytes} bytes")
