"""Owns the worker's settings."""

from pathlib import Path
from typing import Annotated

from chatcore.settings import ServiceSettings, TraceSettings
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class MySQLSettings(BaseSettings):
    """How to reach MySQL. Each field is the environment variable `CHAT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="CHAT_", env_ignore_empty=True, frozen=True)

    mysql_host: str = "127.0.0.1"
    """The primary: syncs are read there too (R4c)."""

    mysql_port: Annotated[int, Field(ge=1, le=65_535)] = 3306
    """Its port."""

    mysql_user: str
    """For a worker: may read and write rows. For migrations: may also change tables."""

    mysql_password: SecretStr
    """The user's password."""

    mysql_database: str = "chat"
    """The database; it must exist."""

    mysql_application: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{0,32}$")] = ""
    """For migrations: the account that they give what services need of each table (`delivery_worker.grants`). Empty:
    none, for a database in which the services' account has its rights already."""

    mysql_tls_ca: Path | None = None
    """Certificates of the authorities to trust. Set: TLS or nothing. Unset: in the clear, for loopback only."""

    partitions: Annotated[int, Field(ge=1, le=1024)] = 32
    """How many partitions the system has. Fixed by the first migration and read from MySQL ever after: a
    conversation's partition must never change while an event of it may be on its way (R1e)."""


class WorkerSettings(ServiceSettings, TraceSettings, MySQLSettings):
    """The worker's own."""

    batch_events: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Events in one transaction: past a few hundred the cost of an event no longer falls, its latency does rise."""

    batch_bytes: Annotated[int, Field(ge=1_024, le=8 * 1024 * 1024)] = 2 * 1024 * 1024
    """Bytes of entries in one transaction; far below `max_allowed_packet` (16 MiB on MariaDB)."""

    sync_connections: Annotated[int, Field(ge=1, le=32)] = 4
    """MySQL connections for syncs, history and lists, beside the one for batches: as many are answered at once."""

    dead_letters: Annotated[int, Field(ge=1)] = 10_000
    """Entries that `chat:dead` keeps; older ones are dropped, and their count stays in the metrics."""
