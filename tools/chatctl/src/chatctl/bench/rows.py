"""Owns messages that are written straight into MySQL: a past that would take hours to be sent.

It must only write conversations that no owner remembers: an owner's memory would not see them (R1b).
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import pymysql
from chatcore.ids import conversation_id

from chatctl.stack.stack_file import MysqlAddress

ROWS: Final = 2_000
"""Of one statement: about half a megabyte of messages."""
BODY: Final = "x" * 200


class Past(NamedTuple):
    """A conversation that `writer` filled; the reader holds nothing of it, or all."""

    writer: str
    reader: str
    messages: int
    held: bool


def write(address: MysqlAddress, pasts: Iterable[Past]) -> None:
    """Write conversations, in the order of their keys where the caller sorts them: that is several times faster."""
    connection = pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
        autocommit=True,
    )
    rest = iter(pasts)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)")
        [(now,)] = cursor.fetchall()
        while chunk := list(islice(rest, ROWS)):
            messages = (row for past in chunk for row in _messages(past, now))
            while rows := list(islice(messages, ROWS)):
                cursor.execute(
                    "INSERT INTO message (conversation_id, seq, sender, device_id, client_id, ts, body) VALUES "  # noqa: S608 - ids of our own making
                    + ",".join(rows)
                )
            members = ",".join(row for past in chunk for row in _members(past, now))
            cursor.execute(
                "INSERT INTO member (user_id, conversation_id, peer_id, last_seq, last_ts, delivered_seq, read_seq,"  # noqa: S608 - ids of our own making
                f" peer_delivered_seq, peer_read_seq, updated_at) VALUES {members}"
            )


def _messages(past: Past, now: int) -> Iterator[str]:
    key = conversation_id(past.writer, past.reader).hex()
    for seq in range(1, past.messages + 1):
        yield f"(x'{key}',{seq},'{past.writer}','bench','past{seq}',{now},'{BODY}')"


def _members(past: Past, now: int) -> Iterator[str]:
    key, last = conversation_id(past.writer, past.reader).hex(), past.messages
    held = last if past.held else 0
    yield f"('{past.writer}',x'{key}','{past.reader}',{last},{now},{last},{held},{held},{held},{now})"
    yield f"('{past.reader}',x'{key}','{past.writer}',{last},{now},{held},{held},{last},{held},{now})"
