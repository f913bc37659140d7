"""Owns which MySQL account may do what: just what its part needs, table by table where rows are. Pure.

Three accounts. The application's (workers, and `chatctl`) touches rows and no tables; of messages it can add, and
change or delete none. The migrator's changes tables, and hands the application its rights on them: MySQL gives rights
on a table only once there is one (https://dev.mysql.com/doc/refman/8.4/en/grant.html). The exporter's reads the
server's own figures and no row.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from delivery_worker.store.values import text

Part = Literal["application", "migrator", "exporter"]

ACCOUNTS: Final[Mapping[Part, str]] = {
    "application": "chat_application",
    "migrator": "chat_migrator",
    "exporter": "chat_exporter",
}
"""Of any host: who may come at all is the network's and TLS's to say."""

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("SELECT", "INSERT"),
    "member": ("SELECT", "INSERT", "UPDATE"),
    "device": ("SELECT", "INSERT", "UPDATE"),
    "device_cursor": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "partition_owner": ("SELECT", "UPDATE"),
    "meta": ("SELECT", "UPDATE"),
    "alembic_version": ("SELECT",),
}
"""The application's rights. FOR UPDATE needs UPDATE; so does the second half of an upsert."""

MIGRATOR: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX", "REFERENCES")
"""On the whole database: what migrations do, and what they may hand on."""

EXPORTER_SESSIONS: Final = 3
"""An exporter that hangs must not use up the server's connections."""


def accounts(database: str, passwords: Mapping[Part, str], *, tls: bool) -> Iterator[str]:
    """Give the statements that make the accounts named, or give them these passwords; for the server's administrator.

    `tls`: the server refuses them in the clear. The application's has no rights before the first migration.
    """
    for part, password in passwords.items():
        account = _account(ACCOUNTS[part])
        demands = " REQUIRE SSL" if tls else " REQUIRE NONE"
        if part == "exporter":
            demands += f" WITH MAX_USER_CONNECTIONS {EXPORTER_SESSIONS}"
        yield f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {text(password)}"
        yield f"ALTER USER {account} IDENTIFIED BY {text(password)}{demands}"
        yield from _rights(part, database, account)


def application(database: str, user: str) -> Iterator[str]:
    """Give the statements that a migration ends with: the application's rights on the tables that are there now."""
    for table, rights in TABLES.items():
        yield f"GRANT {', '.join(rights)} ON `{database}`.`{table}` TO {_account(user)}"


def _rights(part: Part, database: str, account: str) -> Iterator[str]:
    if part == "migrator":
        pattern = database.replace("_", r"\_")  # where rights are given on a database, _ and % stand for others
        yield f"GRANT {', '.join(MIGRATOR)} ON `{pattern}`.* TO {account} WITH GRANT OPTION"
    elif part == "exporter":
        yield f"GRANT PROCESS, REPLICATION CLIENT ON *.* TO {account}"
        yield f"GRANT SELECT ON performance_schema.* TO {account}"


def _account(user: str) -> str:
    return f"{text(user)}@'%'"
