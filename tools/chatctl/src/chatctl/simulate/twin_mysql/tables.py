"""Owns the tables of the twin: their columns and keys, and what a row may hold. No I/O.

It repeats what the migrations say, and a contract test holds it against them.
"""

from dataclasses import dataclass
from typing import Any, Final

from pymysql.constants import ER
from pymysql.err import DataError

Row = dict[str, Any]
Key = tuple[Any, ...]
NAME_CHARS: Final = 64
TEXT_BYTES: Final = 65_535


@dataclass(frozen=True, slots=True)
class Table:
    """A table's shape."""

    name: str
    columns: tuple[str, ...]
    primary: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()

    def key_of(self, row: Row) -> Key:
        """Give a row's primary key."""
        return tuple([row[column] for column in self.primary])

    def keys_of(self, row: Row) -> list[Key]:
        """Give all its unique keys, each with the index that it is of; the primary one first."""
        indexes = (self.primary, *self.unique)
        return [(self.name, at, *[row[c] for c in index]) for at, index in enumerate(indexes)]

    def check(self, row: Row) -> None:
        """Refuse what no column takes. Raises `DataError`."""
        for column, value in row.items():
            if not isinstance(value, str):
                continue
            fits = len(value.encode()) <= TEXT_BYTES if column == "body" else len(value) <= self._most(column)
            if not fits:
                raise DataError(ER.DATA_TOO_LONG, f"Data too long for column '{column}' at row 1")

    def stored(self, column: str, value: Any) -> Any:
        """Give a value as the column keeps it: a number in a column of text becomes text."""
        return str(value) if column == "value" else value

    def _most(self, column: str) -> int:
        return 255 if column == "value" else NAME_CHARS


_MARKS: Final = ("last_seq", "last_ts", "delivered_seq", "read_seq", "peer_delivered_seq", "peer_read_seq")
TABLES: Final = {
    table.name: table
    for table in (
        Table(
            "message",
            ("conversation_id", "seq", "sender", "device_id", "client_id", "ts", "body"),
            ("conversation_id", "seq"),
            (("conversation_id", "sender", "client_id"),),
        ),
        Table(
            "member",
            ("user_id", "conversation_id", "peer_id", *_MARKS, "updated_at"),
            ("user_id", "conversation_id"),
        ),
        Table("device", ("user_id", "device_id", "first_seen", "last_seen", "revoked_at"), ("user_id", "device_id")),
        Table(
            "device_cursor",
            ("user_id", "device_id", "conversation_id", "seq"),
            ("user_id", "device_id", "conversation_id"),
        ),
        Table("partition_owner", ("partition_id", "epoch", "owner"), ("partition_id",)),
        Table("meta", ("name", "value"), ("name",)),
    )
}
