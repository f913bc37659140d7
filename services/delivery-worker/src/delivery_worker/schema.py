"""Owns the schema's version: it migrates, by a command of its own, and refuses a worker on a schema too old.

Synchronous, for commands and start-up. A service never migrates.
"""

import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from chatcore.errors import ConfigurationError
from chatcore.tls import trusting
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from delivery_worker import grants
from delivery_worker.settings import MySQLSettings

LOCK: Final = "chat_migrate"
LOCK_S: Final = 120
"""Seconds that a migration waits for another one; each release's job runs once, but a Job may be started twice."""
AWAIT_S: Final = 300.0
"""Seconds that `await-schema` gives a release's migration; whoever started it starts it again."""
AGAIN_S: Final = 2.0
PARTITIONS: Final = "partitions"
DATABASE_EPOCH: Final = "epoch"
OWNER_EPOCH: Final = "owner_epoch"


def migrate(settings: MySQLSettings) -> str:
    """Bring the schema to this release's version, and write what the first start fixes. Gives the version.

    The application's account gets its rights where the settings name one, since each new table needs them anew.
    Idempotent. Raises `ConfigurationError` when the server cannot be reached or refuses.
    """
    with _connected(settings) as connection:
        got = connection.execute(text("SELECT GET_LOCK(:name, :wait)"), {"name": LOCK, "wait": LOCK_S}).scalar()
        if got != 1:
            raise ConfigurationError(f"another migration has held the lock for {LOCK_S} s")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _write_meta(connection, settings)
        connection.commit()
        if settings.mysql_application:
            for statement in grants.application(settings.mysql_database, settings.mysql_application):
                connection.execute(text(statement))
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})
        return _head()


def check_schema(settings: MySQLSettings) -> None:
    """Raise `ConfigurationError` unless the schema is at this release's version or a later one's."""
    with _connected(settings) as connection:
        try:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except SQLAlchemyError:
            found = None
    head = _head()
    if found is None or str(found) < head:
        raise ConfigurationError(
            f"the schema is at version {found or 'none'}, and this release needs {head}: run `delivery-worker migrate`"
        )


def await_schema(settings: MySQLSettings, *, within_s: float = AWAIT_S) -> None:
    """Return when the schema serves this release; a server that is not there yet is waited for, too.

    Raises `ConfigurationError` with what is missing when the time is over, and at once for certificates that cannot be
    read: no migration brings them.
    """
    _trust(settings)
    deadline = time.monotonic() + within_s
    while True:
        try:
            return check_schema(settings)
        except ConfigurationError:
            if time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_S)


def renew_epoch(settings: MySQLSettings, *, above: int) -> str:
    """Name a restored database's state anew, and number its owners above `above`. Gives the new epoch.

    For a time in which no worker runs. Raises `ConfigurationError`.
    """
    epoch = secrets.token_hex(8)
    with _connected(settings) as connection:
        highest = connection.execute(text("SELECT COALESCE(MAX(epoch), 0) FROM partition_owner")).scalar() or 0
        connection.execute(
            text("UPDATE meta SET value = GREATEST(CAST(value AS SIGNED), :least) WHERE name = :name"),
            {"name": OWNER_EPOCH, "least": max(above, int(highest))},
        )
        connection.execute(
            text("UPDATE meta SET value = :epoch WHERE name = :name"), {"name": DATABASE_EPOCH, "epoch": epoch}
        )
        connection.commit()
    return epoch


def _write_meta(connection: Connection, settings: MySQLSettings) -> None:
    values = {PARTITIONS: str(settings.partitions), DATABASE_EPOCH: secrets.token_hex(8), OWNER_EPOCH: "0"}
    for name, value in values.items():
        statement = text("INSERT INTO meta (name, value) VALUES (:name, :value) ON DUPLICATE KEY UPDATE name = name")
        connection.execute(statement, {"name": name, "value": value})
    partitions = int(connection.execute(text("SELECT value FROM meta WHERE name = 'partitions'")).scalar() or 0)
    for partition in range(partitions):
        connection.execute(
            text(
                "INSERT INTO partition_owner (partition_id, epoch, owner) VALUES (:partition, 0, '')"
                " ON DUPLICATE KEY UPDATE partition_id = partition_id"
            ),
            {"partition": partition},
        )


@contextmanager
def _connected(settings: MySQLSettings) -> Iterator[Connection]:
    url = URL.create(
        "mysql+pymysql",
        username=settings.mysql_user,
        password=settings.mysql_password.get_secret_value(),
        host=settings.mysql_host,
        port=settings.mysql_port,
        database=settings.mysql_database,
        query={"charset": "utf8mb4"},
    )
    arguments: dict[str, object] = {"connect_timeout": 5}
    if (trust := _trust(settings)) is not None:
        arguments["ssl"] = trust
    engine = create_engine(url, connect_args=arguments)
    try:
        with engine.connect() as connection:
            if trust is not None:
                _demand_tls(connection)
            yield connection
    except SQLAlchemyError as error:
        raise ConfigurationError(f"MySQL at {settings.mysql_host}:{settings.mysql_port}: {error}") from error
    finally:
        engine.dispose()


def _trust(settings: MySQLSettings) -> ssl.SSLContext | None:
    """Read whom the server's certificate must be signed by; None where no TLS is asked for."""
    if settings.mysql_tls_ca is None:
        return None
    return trusting(settings.mysql_tls_ca, variable="CHAT_MYSQL_TLS_CA")


def _demand_tls(connection: Connection) -> None:
    """PyMySQL goes on in the clear when the server offers no TLS."""
    cipher = connection.execute(text("SHOW SESSION STATUS LIKE 'Ssl_cipher'")).one_or_none()
    if cipher is None or not cipher[1]:
        raise ConfigurationError("MySQL offers no TLS, and CHAT_MYSQL_TLS_CA asks for it")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise ConfigurationError("this installation has no migrations in it")
    return head
