"""Owns what compose.yaml starts, run for real: our images in containers, each with its own variables and order.

Redis, MySQL and HAProxy are the machine's own, with compose.yaml's options, accounts and configuration, since their
images cannot be pulled here. All of it is on the loopback, so addresses are other ones; nothing else is.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

from chatctl.failure import Failure
from chatctl.stack import ports, redis_server
from chatctl.stack.executables import find
from chatctl.stack.stack_file import MysqlAddress

from tests.deploy.balancer import Gateway, balanced
from tests.deploy.composition import Composition, HealthCheck, Service
from tests.deploy.podman import Container, Image
from tests.harness.servers import execute, running_database

READY_S: Final = 60.0
HERE: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Composed:
    """Everything, and ready."""

    url: str
    """HAProxy's, for clients."""
    containers: Mapping[str, Container]
    """Ours that stay, by service, in the order of their start."""
    stores: Mapping[str, str]
    """Where the stores are, by the variables that name them."""


@asynccontextmanager
async def composed(compose: Composition, images: Mapping[str, Image], folder: Path) -> AsyncIterator[Composed]:
    """Start what compose.yaml says, in its order."""
    async with AsyncExitStack() as running:
        redis_port = await running.enter_async_context(_redis(compose, folder))
        mysql = await running.enter_async_context(_mysql(compose, folder))
        ours = {name: service for name, service in compose.services.items() if service.ours and not service.profiles}
        starter = _Starter(images, redis_port, mysql.port, dict(zip(ours, _pairs(len(ours)), strict=True)))
        for name in TopologicalSorter({name: one.depends_on for name, one in ours.items()}).static_order():
            if name in ours:
                await running.enter_async_context(starter.started(name, ours[name]))
        gateways = {name: starter.places[name] for name, one in ours.items() if one.name == "chat/gateway"}
        url = await running.enter_async_context(balanced(folder, gateways))
        yield Composed(url, starter.containers, starter.stores)


class _Starter:
    """Starts containers, each only when it is fit to be waited for."""

    def __init__(
        self, images: Mapping[str, Image], redis_port: int, mysql_port: int, places: Mapping[str, Gateway]
    ) -> None:
        self.places = places
        self.containers: dict[str, Container] = {}
        self._images = images
        self.stores = {"CHAT_REDIS_URL": f"redis://{HERE}:{redis_port}/0", "CHAT_MYSQL_HOST": HERE}
        self.stores["CHAT_MYSQL_PORT"] = str(mysql_port)

    @asynccontextmanager
    async def started(self, name: str, service: Service) -> AsyncIterator[None]:
        image = self._images[service.name.removeprefix("chat/")]
        container = await Container.start(image, *service.command, environment=self._environment(name, service))
        try:
            if isinstance(service.healthcheck, HealthCheck):
                self.containers[name] = container
                await _healthy(container, service.healthcheck)
            else:
                assert await container.exit_code() == 0, f"{name} failed"
            yield
        except BaseException:
            print(f"{name}:", await container.logs())  # noqa: T201 - pytest shows it with the failure
            raise
        finally:
            await container.remove()

    def _environment(self, name: str, service: Service) -> dict[str, str]:
        """Give its variables with addresses of this machine."""
        place = self.places[name]
        listens = {"CHAT_METRICS_HOST": HERE, "CHAT_METRICS_PORT": str(place.metrics_port)}
        listens |= {"CHAT_HOST": HERE, "CHAT_PORT": str(place.port)}
        return {**service.environment, **self.stores, **listens}


def _pairs(count: int) -> list[Gateway]:
    found = ports.private(2 * count)
    return [Gateway(port, metrics_port) for port, metrics_port in zip(found[::2], found[1::2], strict=True)]


async def _healthy(container: Container, check: HealthCheck) -> None:
    async with asyncio.timeout(READY_S):
        while not await container.ask(*check.test[1:]):
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _redis(compose: Composition, folder: Path) -> AsyncIterator[int]:
    """Run Redis with the options and the users of compose.yaml; gives its port."""
    service = compose.services["redis"]
    [mount] = service.configs
    users = folder / "users.acl"
    users.write_text(compose.configs[mount.source].content, encoding="utf-8")
    options = [str(users) if word == mount.target else word for word in service.command[1:]]
    [port] = ports.private(1)
    server = find("redis-server", package="redis-server")
    command = (server, *options, "--port", str(port), "--bind", HERE, "--dir", str(folder))
    with (folder / "redis.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=subprocess.STDOUT)
    try:
        async with asyncio.timeout(READY_S):
            while not await redis_server.answers(port):
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _mysql(compose: Composition, folder: Path) -> AsyncIterator[MysqlAddress]:
    """Run MySQL, or MariaDB where that cannot be had, with the accounts of compose.yaml."""
    async with AsyncExitStack() as running:
        try:
            address = await running.enter_async_context(running_database(folder, "mysql"))
        except Failure:
            address = await running.enter_async_context(running_database(folder, "mariadb"))
        [mount] = compose.services["mysql"].configs
        for statement in compose.configs[mount.source].content.splitlines():
            await execute(address, statement)
        yield address
