"""Owns a plan's rows as SQL: one statement per table and batch (R1a, R8)."""

from chatcore.delivery import Plan

from delivery_worker.store.values import binary, text


def writes(plan: Plan, stamp: str) -> list[str]:
    """Write a plan's rows; `stamp` is what the changed members are stamped with (R4c), as SQL."""
    statements = []
    if plan.messages:
        statements.append(_insert_messages(plan))
    if plan.members:
        statements.append(_upsert_members(plan, stamp))
    if plan.cursors:
        statements.append(_upsert_cursors(plan))
    return statements


def _insert_messages(plan: Plan) -> str:
    """R1a: a plain INSERT. An upsert would swallow a collision of numbers, and an acknowledged message be lost."""
    rows = ",".join(
        f"({binary(row.conversation)},{row.seq},{text(row.sender)},{text(row.device)},{text(row.client_id)},"
        f"{row.ts},{text(row.body)})"
        for row in plan.messages
    )
    return f"INSERT INTO message (conversation_id, seq, sender, device_id, client_id, ts, body) VALUES {rows}"  # noqa: S608 - quoted


def _upsert_members(plan: Plan, stamp: str) -> str:
    """R8: watermarks only rise. Rows are sorted by their key, so that two batches lock in one order."""
    rows = ",".join(
        f"({text(row.user)},{binary(row.conversation)},{text(row.peer)},{row.last},{row.last_ts},{row.delivered},"
        f"{row.read},{row.peer_delivered},{row.peer_read},{stamp})"
        for row in sorted(plan.members)
    )
    rises = ",".join(
        f"{name} = GREATEST({name}, VALUES({name}))"
        for name in (
            "last_seq",
            "last_ts",
            "delivered_seq",
            "read_seq",
            "peer_delivered_seq",
            "peer_read_seq",
            "updated_at",
        )
    )
    return (
        "INSERT INTO member (user_id, conversation_id, peer_id, last_seq, last_ts, delivered_seq, read_seq,"  # noqa: S608 - quoted
        f" peer_delivered_seq, peer_read_seq, updated_at) VALUES {rows} ON DUPLICATE KEY UPDATE {rises}"
    )


def _upsert_cursors(plan: Plan) -> str:
    rows = ",".join(
        f"({text(row.user)},{text(row.device)},{binary(row.conversation)},{row.seq})" for row in sorted(plan.cursors)
    )
    return (
        f"INSERT INTO device_cursor (user_id, device_id, conversation_id, seq) VALUES {rows}"  # noqa: S608 - quoted
        " ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))"
    )
