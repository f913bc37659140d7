"""Owns how a command reaches the stores of a running system: the environment's, or those of a local stack.

The environment comes first, with the variables that the services read; `--dir` names a local stack and wins.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from chatcore.errors import ConfigurationError, StoreUnavailable
from chatcore.keys import Keys
from chatcore.redis_client import close_redis, make_redis
from chatcore.settings import ServiceSettings, read_settings
from cyclopts import Parameter
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import Session
from pymysql.err import MySQLError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chatctl.failure import Failure
from chatctl.stack import stack_file
from chatctl.stack.stack_file import StackFile

LOCAL = Path(".run")
"""Where the local stack lies when nobody says otherwise."""

Dir = Annotated[
    Path | None,
    Parameter(help="A local stack; the default is the system that the environment names, or the stack in `.run`."),
]
"""The option of every command that looks into a system or acts on it."""
LocalDir = Annotated[Path, Parameter(help="The local stack's folder.")]
"""The option of every command that is for a local stack alone."""

T = TypeVar("T")


class RedisSettings(ServiceSettings):
    """What a command needs of the services' own settings."""

    redis_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where the stores of a system are."""

    redis_url: str
    keys: Keys
    mysql: MySQLSettings
    folder: Path | None
    """Of the local stack; None for a system that the environment names."""

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """A client of Redis, for one task."""
        client = make_redis(self.redis_url, name="chatctl", connections=2)
        try:
            yield client
        finally:
            await close_redis(client)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session on MySQL, for one task."""
        session = Session(self.mysql)
        try:
            yield session
        finally:
            session.close()


def find(folder: Path | None) -> Deployment:
    """Find the system: the local stack of `folder`, or the environment's, or the local stack in `.run`.

    Raises `Failure` when there is none, or when the environment names half of one.
    """
    if folder is None and "CHAT_REDIS_URL" in os.environ:
        return from_environment()
    where = (folder or LOCAL).resolve()
    return of_stack(stack_file.read_running(where), where)


def from_environment() -> Deployment:
    """Read the variables that the services read. Raises `Failure` that names each one at fault."""
    try:
        redis, mysql = read_settings(RedisSettings), read_settings(MySQLSettings)
    except ConfigurationError as error:
        raise Failure(
            f"the environment names half of a system: {error}",
            advice="give a worker's variables, or name a local stack with --dir",
        ) from error
    return Deployment(redis_url=redis.redis_dsn, keys=Keys(redis.key_prefix), mysql=mysql, folder=None)


def of_stack(stack: StackFile, folder: Path) -> Deployment:
    """Take a local stack's own stores."""
    address = stack.mysql
    mysql = {
        "mysql_host": address.host,
        "mysql_port": address.port,
        "mysql_user": address.user,
        "mysql_password": address.password,
        "mysql_database": address.database,
        "mysql_tls_ca": None,
    }
    return Deployment(
        redis_url=f"redis://127.0.0.1:{stack.redis.port}/0",
        keys=Keys(),
        mysql=MySQLSettings.model_validate(mysql),
        folder=folder,
    )


def perform(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work. A store that does not answer is told as such, never as a traceback."""
    try:
        return asyncio.run(work)
    except (StoreUnavailable, ConfigurationError, MySQLError, RedisError) as error:
        raise Failure(
            f"a store did not answer, or refused: {error}",
            advice="look at the stores and the services' logs, and run it again",
        ) from error
