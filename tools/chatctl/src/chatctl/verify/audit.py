"""Owns the audit of the fence: who wrote messages and marks, and who was owner of their partitions at that time.

Triggers in the private database note each message and each user's row of a conversation, added or written over, and
each takeover, with the account that wrote it, in the writing transaction itself: what is rolled back leaves no note,
and their order is the order of the partition's lock. They are this tool's own and only ever made in a stack of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chatcore.ids import ConversationId, partition_of

from chatctl.stack.mysql_server import WORKER

STATEMENTS: Final = (
    """CREATE TABLE verify_audit (
        place BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        account VARCHAR(128) NOT NULL,
        conversation_id BINARY(16) NULL,
        what VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
        partition_id INT NULL,
        owner VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
    ) ENGINE=InnoDB""",
    *(
        f"""CREATE TRIGGER verify_{table}_{event} AFTER {event} ON {table} FOR EACH ROW
        INSERT INTO verify_audit (account, conversation_id, what) VALUES (USER(), NEW.conversation_id, {what})"""  # noqa: S608 - all of it stands below
        for table, what in (
            ("message", "CONCAT('message ', NEW.seq)"),
            ("member", "CONCAT('the marks of ', NEW.user_id)"),
        )
        for event in ("INSERT", "UPDATE")
    ),
    """CREATE TRIGGER verify_taken AFTER UPDATE ON partition_owner FOR EACH ROW
        INSERT INTO verify_audit (account, partition_id, owner) VALUES (USER(), NEW.partition_id, NEW.owner)""",
)


@dataclass(frozen=True, slots=True)
class Written:
    """A message, or a user's marks of a conversation, were written."""

    worker: str
    partition: int
    what: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A worker became the owner of a partition."""

    worker: str
    partition: int


Note = Written | Taken


async def begin(mysql: Any) -> dict[int, str]:
    """Make the triggers; gives the owners that there were then."""
    cursor = await mysql.cursor()
    for statement in STATEMENTS:
        await cursor.execute(statement)
    await cursor.execute("SELECT partition_id, owner FROM partition_owner")
    return {partition: _worker_of_owner(owner) for partition, owner in await cursor.fetchall()}


async def read(mysql: Any, partitions: int) -> list[Note]:
    """Read all notes, in their order."""
    cursor = await mysql.cursor()
    await cursor.execute("SELECT account, conversation_id, what, partition_id, owner FROM verify_audit ORDER BY place")
    notes: list[Note] = []
    for account, conversation, what, partition, owner in await cursor.fetchall():
        if conversation is None:
            notes.append(Taken(_worker_of_owner(owner), partition))
        else:
            place = partition_of(ConversationId(bytes(conversation)), partitions)
            notes.append(Written(_worker_of_account(account), place, what))
    return notes


def stale_writes(owners: dict[int, str], notes: Sequence[Note]) -> Iterator[str]:
    """Name everything that was written by another than the partition's owner. Pure.

    `owners` are those of the beginning. A worker that took a partition over twice is one and the same here: what its
    former self had under way is not told apart from its own.
    """
    now = dict(owners)
    for note in notes:
        if isinstance(note, Taken):
            now[note.partition] = note.worker
        elif note.worker != now.get(note.partition):
            owner = now.get(note.partition)
            yield f"{note.worker} wrote {note.what} of partition {note.partition}, whose owner was {owner}"


def _worker_of_owner(owner: str) -> str:
    """`worker-1.ab12cd34` is the first worker, in one of its lives."""
    return owner.partition(".")[0]


def _worker_of_account(account: str) -> str:
    """`chat_worker_1@127.0.0.1` is the first worker."""
    return account.partition("@")[0].replace(f"{WORKER}_", "worker-")
