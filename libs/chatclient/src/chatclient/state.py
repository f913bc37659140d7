"""Where a device keeps what must outlive a run: in memory, or in a SQLite file.

Stores and loads records; never decides what they mean.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Protocol

from chatclient.session.records import (
    Forgotten,
    OutboxAdded,
    OutboxRemoved,
    PeerRecord,
    Record,
    Snapshot,
    SyncRecord,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS peer (
    peer TEXT PRIMARY KEY, cursor INTEGER, read INTEGER, peer_delivered INTEGER, peer_read INTEGER,
    confirmed_cursor INTEGER, confirmed_read INTEGER);
CREATE TABLE IF NOT EXISTS outbox (
    place INTEGER PRIMARY KEY, recipient TEXT, id TEXT, body TEXT, UNIQUE (recipient, id));
CREATE TABLE IF NOT EXISTS sync (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT, token TEXT);
"""
_GET_PEERS = "SELECT peer, cursor, read, peer_delivered, peer_read, confirmed_cursor, confirmed_read FROM peer"
_PUT_PEER = "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?, ?)"


class State(Protocol):
    """Keeps the records of one device of one user; two chats must never share it at once."""

    def load(self) -> Snapshot:
        """Return everything kept so far."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep these records, all or none of them."""

    def close(self) -> None:
        """Let go of what is held open."""


class MemoryState:
    """Keeps the records as long as the object lives: enough to open a second chat after the first."""

    def __init__(self) -> None:
        self._peers: dict[str, PeerRecord] = {}
        self._outbox: dict[tuple[str, str], OutboxAdded] = {}
        self._sync = SyncRecord(epoch=None, token=None)

    def load(self) -> Snapshot:
        """Return everything kept so far."""
        return Snapshot(tuple(self._peers.values()), tuple(self._outbox.values()), self._sync)

    def write(self, records: Sequence[Record]) -> None:
        """Keep these records."""
        for record in records:
            match record:
                case PeerRecord():
                    self._peers[record.peer] = record
                case OutboxAdded():
                    self._outbox.setdefault((record.to, record.id), record)
                case OutboxRemoved():
                    self._outbox.pop((record.to, record.id), None)
                case SyncRecord():
                    self._sync = record
                case Forgotten():
                    self._peers.clear()
                    self._sync = SyncRecord(epoch=None, token=None)

    def close(self) -> None:
        """Nothing is held open."""


class SqliteState:
    """Keeps the records in a file, which one process at a time may use.

    Writes on the caller's thread: in WAL mode a commit is a write without a flush, some ten
    microseconds. So a crash of the program loses nothing; one of the machine may lose the newest
    records, and then costs a page of history (a cursor behind the server's) or a message that
    nobody was told to be sent.
    """

    def __init__(self, path: str | Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            # Taken at once and held until the end: a second program on the same file fails here.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except BaseException:
            self._db.close()
            raise

    def load(self) -> Snapshot:
        """Return everything kept so far."""
        peers = self._db.execute(_GET_PEERS)
        outbox = self._db.execute("SELECT id, recipient, body FROM outbox ORDER BY place")
        sync = self._db.execute("SELECT epoch, token FROM sync").fetchone() or (None, None)
        return Snapshot(
            peers=tuple(PeerRecord(*row) for row in peers),
            outbox=tuple(OutboxAdded(*row) for row in outbox),
            sync=SyncRecord(*sync),
        )

    def write(self, records: Sequence[Record]) -> None:
        """Keep these records in one transaction."""
        self._db.execute("BEGIN")
        try:
            for record in records:
                self._put(record)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _put(self, record: Record) -> None:
        execute = self._db.execute
        match record:
            case PeerRecord():
                execute(_PUT_PEER, astuple(record))
            case OutboxAdded(id_, to, body):
                execute("INSERT OR IGNORE INTO outbox (recipient, id, body) VALUES (?, ?, ?)", (to, id_, body))
            case OutboxRemoved(id_, to):
                execute("DELETE FROM outbox WHERE recipient = ? AND id = ?", (to, id_))
            case SyncRecord(epoch, token):
                execute("INSERT OR REPLACE INTO sync (one, epoch, token) VALUES (1, ?, ?)", (epoch, token))
            case Forgotten():
                execute("DELETE FROM peer")
                execute("DELETE FROM sync")
