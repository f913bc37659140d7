"""Owns the bytes of the frames that tell what happened to a message (PROTOCOL section 5). Pure."""

from typing import Any, Final

import orjson

from chatcore.delivery.plan import Answer, MessageRow, Receipt, Refused, Sent
from chatcore.errors import RETRYABLE, Code

RETRY_AFTER_MS: Final = 1_000
"""What `error` frames ask a client to wait where nothing better is known: about a worker's beat."""

_WORDS: Final = {
    Code.ID_CONFLICT: "this `id` was used for another body",
    Code.ACK_AHEAD: "`seq` is beyond the last message",
    Code.INTERNAL: "the server failed on this frame",
    Code.UNAVAILABLE: "not stored now; send again",
    Code.INVALID_FRAME: "the server could not take this frame",
}


def encode_error(
    code: Code,
    message: str,
    *,
    ref: str | None = None,
    peer: str | None = None,
    retry_after_ms: int | None = None,
) -> bytes:
    """Write an `error` frame. Fields without a value are left out."""
    frame: dict[str, Any] = {"type": "error", "code": code.value, "message": message}
    if ref is not None:
        frame["ref"] = ref
    if peer is not None:
        frame["peer"] = peer
    if retry_after_ms is not None:
        frame["retry_after_ms"] = retry_after_ms
    return orjson.dumps(frame)


def encode_answer(answer: Answer) -> bytes:
    """Write the frame that answers an event."""
    if isinstance(answer, Refused):
        return encode_refusal(answer)
    return encode_sent(answer)


def encode_sent(sent: Sent) -> bytes:
    """Write a `sent` frame."""
    frame: dict[str, Any] = {
        "type": "sent",
        "id": sent.client_id,
        "peer": sent.peer,
        "seq": sent.seq,
        "ts": sent.ts,
    }
    if sent.ref is not None:
        frame["ref"] = sent.ref
    return orjson.dumps(frame)


def encode_refusal(refused: Refused) -> bytes:
    """Write the `error` that answers a refused event: with a send's id as `ref`, with an acknowledgement's peer."""
    return encode_error(
        refused.code,
        _WORDS.get(refused.code, refused.code.value),
        ref=refused.client_id or refused.ref,
        peer=refused.peer if refused.client_id is None else None,
        retry_after_ms=RETRY_AFTER_MS if refused.code in RETRYABLE else None,
    )


def message_fields(row: MessageRow, peer: str) -> dict[str, Any]:
    """Give a message's fields as the user whose peer is `peer` sees them, without `type`."""
    return {
        "peer": peer,
        "from": row.sender,
        "device": row.device,
        "seq": row.seq,
        "id": row.client_id,
        "ts": row.ts,
        "body": row.body,
    }


def encode_message(row: MessageRow, peer: str) -> bytes:
    """Write a `message` frame for the user whose peer is `peer`."""
    return orjson.dumps({"type": "message", **message_fields(row, peer)})


def encode_receipt(receipt: Receipt, peer: str) -> bytes:
    """Write a `receipt` frame for the user whose peer is `peer`."""
    return orjson.dumps(
        {
            "type": "receipt",
            "peer": peer,
            "user": receipt.user,
            "delivered": receipt.delivered,
            "read": receipt.read,
        }
    )
