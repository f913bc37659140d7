"""How the stack starts its services: their commands and their environment. Nothing else configures them."""

import sys
from collections.abc import Mapping

from chatctl.stack.mysql_server import worker_account
from chatctl.stack.program import Program
from chatctl.stack.redis_server import USERS
from chatctl.stack.stack_file import MysqlAddress, Role, StackFile

SHUTDOWN_S = 10.0
"""Seconds that a service gets to drain (`CHAT_SHUTDOWN_S`): a person waits for it."""

STOP_S = SHUTDOWN_S + 2.0
"""Seconds until SIGKILL: past the service's own deadline."""

PACKAGES: Mapping[Role, str] = {"gateway": "gateway", "worker": "delivery_worker", "presence": "presence"}


def migration(stack: StackFile) -> Program:
    """Return the program that brings the schema up to date and ends."""
    return Program(
        name="migrate",
        role="worker",
        command=(sys.executable, "-m", "delivery_worker", "migrate"),
        environment=_mysql(stack.mysql),
        stop_s=STOP_S,
    )


def gateway(stack: StackFile, number: int, *, port: int, metrics_port: int) -> Program:
    """Return a gateway."""
    environment = {
        "CHAT_HOST": "127.0.0.1",
        "CHAT_PORT": str(port),
        "CHAT_JWT_SECRET": stack.jwt.secret,
        "CHAT_JWT_AUDIENCE": stack.jwt.audience,
        "CHAT_JWT_ISSUER": stack.jwt.issuer,
        "CHAT_ORIGINS": ",".join(stack.origins),
    }
    return _service(stack, "gateway", number, metrics_port, environment, url=f"ws://127.0.0.1:{port}")


def worker(stack: StackFile, number: int, *, metrics_port: int) -> Program:
    """Return a delivery worker."""
    return _service(
        stack, "worker", number, metrics_port, _mysql(stack.mysql) | {"CHAT_MYSQL_USER": worker_account(number)}
    )


def presence(stack: StackFile, number: int, *, metrics_port: int) -> Program:
    """Return a presence service."""
    return _service(stack, "presence", number, metrics_port, {})


def _service(
    stack: StackFile, role: Role, number: int, metrics_port: int, own: Mapping[str, str], *, url: str | None = None
) -> Program:
    name = f"{role}-{number}"
    environment = {
        "CHAT_NAME": name,
        "CHAT_REDIS_URL": f"redis://127.0.0.1:{stack.redis.port}/0",
        "CHAT_REDIS_USER": USERS[role],
        "CHAT_REDIS_PASSWORD": stack.redis.password,
        "CHAT_METRICS_HOST": "127.0.0.1",
        "CHAT_METRICS_PORT": str(metrics_port),
        "CHAT_SHUTDOWN_S": str(SHUTDOWN_S),
        **own,
    }
    return Program(
        name=name,
        role=role,
        command=(sys.executable, "-m", PACKAGES[role]),
        environment=environment,
        url=url,
        metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
        stop_s=STOP_S,
    )


def _mysql(address: MysqlAddress) -> dict[str, str]:
    return {
        "CHAT_MYSQL_HOST": address.host,
        "CHAT_MYSQL_PORT": str(address.port),
        "CHAT_MYSQL_USER": address.user,
        "CHAT_MYSQL_PASSWORD": address.password,
        "CHAT_MYSQL_DATABASE": address.database,
    }
