"""Owns messages that are written straight into MySQL: a past that would take hours to be sent.

It must only write conversations that no owner remembers: an owner's memory would not see them (R1b).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import pymysql
from chatcore.ids import conversation_id

from chatctl.stack.stack_file import MysqlAddress

CONVERSATIONS: Final = 5_000
"""Of one transaction, which makes all their messages."""
MEMBERS: Final = 2_000
"""Rows of one statement."""
BODY_CHARS: Final = 200
SESSION: Final = "SET SESSION unique_checks = 0, sql_log_bin = 0"
"""For this loader's session alone, before anything is measured: the binary log would double what is written."""
TABLES: Final = (
    "CREATE TEMPORARY TABLE past_number (seq BIGINT PRIMARY KEY)",
    "CREATE TEMPORARY TABLE past_conversation (conversation_id BINARY(16) PRIMARY KEY,"
    " writer VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, messages BIGINT)",
)


class Past(NamedTuple):
    """A conversation that `writer` filled; the reader holds nothing of it, or all."""

    writer: str
    reader: str
    messages: int
    held: bool

    @property
    def key(self) -> bytes:
        """The conversation's id."""
        return conversation_id(self.writer, self.reader)


def write(address: MysqlAddress, pasts: Sequence[Past]) -> None:
    """Write conversations: each table in the order of its key, which is several times faster than in any other."""
    connection = pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(SESSION)
        cursor.execute("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)")
        [(now,)] = cursor.fetchall()
        _write_messages(cursor, sorted(pasts, key=lambda past: past.key), now)
        rows = sorted(row for past in pasts for row in _members(past, now))
        for part in _parts(rows, MEMBERS):
            cursor.execute(
                "INSERT INTO member (user_id, conversation_id, peer_id, last_seq, last_ts, delivered_seq, read_seq,"  # noqa: S608 - ids of our own making
                f" peer_delivered_seq, peer_read_seq, updated_at) VALUES {','.join(part)}"
            )


def _write_messages(cursor: Any, pasts: Sequence[Past], now: int) -> None:
    """Name the conversations; the server makes their messages by itself."""
    for table in TABLES:
        cursor.execute(table)
    numbers = range(1, max((past.messages for past in pasts), default=0) + 1)
    for part in _parts((f"({number})" for number in numbers), MEMBERS):
        cursor.execute(f"INSERT INTO past_number VALUES {','.join(part)}")  # noqa: S608 - numbers
    for some in _parts(pasts, CONVERSATIONS):
        named = ",".join(f"(x'{past.key.hex()}','{past.writer}',{past.messages})" for past in some)
        cursor.execute(f"INSERT INTO past_conversation VALUES {named}")  # noqa: S608 - ids of our own making
        cursor.execute(
            "INSERT INTO message (conversation_id, seq, sender, device_id, client_id, ts, body)"
            " SELECT p.conversation_id, n.seq, p.writer, 'bench', CONCAT('past', n.seq), %s, REPEAT('x', %s)"
            " FROM past_conversation p STRAIGHT_JOIN past_number n ON n.seq <= p.messages",
            (now, BODY_CHARS),
        )
        cursor.execute("DELETE FROM past_conversation")


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _members(past: Past, now: int) -> Iterator[str]:
    key, last = past.key.hex(), past.messages
    held = last if past.held else 0
    yield f"('{past.writer}',x'{key}','{past.reader}',{last},{now},{last},{held},{held},{held},{now})"
    yield f"('{past.reader}',x'{key}','{past.writer}',{last},{now},{held},{held},{last},{held},{now})"
