"""Owns a development's overlay that runs without a cluster: each process with the command and the variables of its
container, beside a Redis with the overlay's own configuration and a MariaDB with its accounts.

Changed are only what the machine decides: addresses and ports, and folders where a pod would have a mount.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
from chatctl.failure import tail
from chatctl.stack import logs, ports, program, redis_server
from chatctl.stack.executables import find
from chatctl.stack.program import Program
from chatctl.stack.stack_file import MysqlAddress

from tests.deploy.manifests import Container, Manifests, Reference
from tests.deploy.policies.stores import decoded
from tests.harness.servers import execute

MODULES: Final = {
    "chat/gateway": "gateway",
    "chat/delivery-worker": "delivery_worker",
    "chat/presence": "presence",
    "chat/chatctl": "chatctl",
}
"""What the images run: `python -m` this, with the container's arguments."""
START_S: Final = 60
STOP_S: Final = 20.0


class LocalPods:
    """The processes of an overlay on this machine."""

    def __init__(self, manifests: Manifests, folder: Path, mysql: MysqlAddress) -> None:
        self.manifests = manifests
        self.mysql = mysql
        self._folder = folder
        self.redis_port, *self._free = ports.private(10)
        self._running = AsyncExitStack()

    async def __aenter__(self) -> "LocalPods":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    async def start_redis(self) -> None:
        """Start a Redis with the configuration and the users of the overlay."""
        folder = self._folder / "redis"
        folder.mkdir()
        written = self.manifests.named("ConfigMap", "redis")["data"]["redis.conf"]
        (folder / "users.acl").write_text(decoded(self.manifests, "redis-users")["users.acl"], encoding="ascii")
        config = folder / "redis.conf"
        config.write_text(written.replace("/etc/redis/", f"{folder}/").replace("dir /tmp", f"dir {folder}"))
        server = find("redis-server", package="redis-server")
        command = (server, str(config), "--port", str(self.redis_port), "--bind", "127.0.0.1")
        await self._start(Program(name="redis", role="redis", command=command, environment={}, stop_s=STOP_S))
        async with asyncio.timeout(START_S):
            while not await redis_server.answers(self.redis_port):
                await asyncio.sleep(0.05)

    async def make_accounts(self) -> None:
        """Do what the image of MySQL does with its first statements."""
        for statement in decoded(self.manifests, "mysql-users")["users.sql"].splitlines():
            if not statement.startswith("--"):
                await execute(self.mysql, statement)

    async def run(self, container: Container, *command: str) -> None:
        """Run a container that ends, or a command in one that waits for some, and expect that it is content."""
        made = self._program(container, self._environment(container), command)
        process = await program.start(made, self._folder)
        async with asyncio.timeout(START_S):
            await process.wait()
        assert process.returncode == 0, "\n".join(tail(logs.path_of(self._folder, made.name)))

    async def serve(self, container: Container) -> dict[str, int]:
        """Start a container that serves, and wait until its probes are content; gives its ports."""
        own = {name: self._free.pop() for name in container.ports()}
        addresses = {"CHAT_METRICS_HOST": "127.0.0.1", "CHAT_METRICS_PORT": str(own["metrics"])}
        if "ws" in own:
            # No balancer has to notice, so none is waited for.
            addresses |= {"CHAT_HOST": "127.0.0.1", "CHAT_PORT": str(own["ws"]), "CHAT_PRESTOP_S": "0"}
        made = self._program(container, self._environment(container) | addresses)
        process = await self._start(made)
        async with asyncio.timeout(START_S):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.body[probe]["httpGet"]
                while not await _content(f"http://127.0.0.1:{own[asked['port']]}{asked['path']}"):
                    assert process.returncode is None, "\n".join(tail(logs.path_of(self._folder, made.name)))
                    await asyncio.sleep(0.05)
        return own

    async def serve_program(
        self, name: str, command: Callable[[int], tuple[str, ...]], environment: Mapping[str, str]
    ) -> int:
        """Start another program that serves metrics, and wait until it does; gives its port."""
        port = self._free.pop()
        made = Program(name=name, role="worker", command=command(port), environment=environment, stop_s=STOP_S)
        process = await self._start(made)
        async with asyncio.timeout(START_S):
            while not await _content(f"http://127.0.0.1:{port}/"):
                assert process.returncode is None, "\n".join(tail(logs.path_of(self._folder, made.name)))
                await asyncio.sleep(0.05)
        return port

    def _program(self, container: Container, environment: Mapping[str, str], command: Sequence[str] = ()) -> Program:
        return Program(
            name=container.where.replace("/", "-"),
            role="worker",
            command=(sys.executable, "-m", MODULES[container.image], *(command or container.body.get("args", ()))),
            environment=environment,
            stop_s=STOP_S,
        )

    def _environment(self, container: Container) -> dict[str, str]:
        """Give a container's variables, with this machine's addresses of the stores."""
        found = {name: self._value(value) for name, value in container.environment(self.manifests).items()}
        if "CHAT_REDIS_URL" in found:
            found["CHAT_REDIS_URL"] = found["CHAT_REDIS_URL"].replace("//redis:6379", f"//127.0.0.1:{self.redis_port}")
        if "CHAT_MYSQL_HOST" in found:
            found |= {"CHAT_MYSQL_HOST": self.mysql.host, "CHAT_MYSQL_PORT": str(self.mysql.port)}
        return found

    def _value(self, value: str | Reference) -> str:
        if isinstance(value, str):
            return value
        return decoded(self.manifests, value.name)[value.key] if value.kind == "Secret" else "a-pod"

    async def _start(self, made: Program) -> asyncio.subprocess.Process:
        process = await program.start(made, self._folder)
        self._running.push_async_callback(program.stop, process, made.stop_s)
        return process


@asynccontextmanager
async def deployed(manifests: Manifests, folder: Path, mysql: MysqlAddress) -> AsyncIterator[LocalPods]:
    """Make the stores of an overlay; its database and accounts go away again."""
    name = manifests.named("ConfigMap", "chat-mysql")["data"]["CHAT_MYSQL_DATABASE"]
    async with LocalPods(manifests, folder, mysql) as pods:
        await pods.start_redis()
        await execute(mysql, f"CREATE DATABASE IF NOT EXISTS {name}")
        await pods.make_accounts()
        try:
            yield pods
        finally:
            await execute(mysql, f"DROP DATABASE {name}")
            await execute(mysql, "DROP USER IF EXISTS chat_application, chat_migrator, chat_exporter")


async def _content(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
