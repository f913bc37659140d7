"""Owns a system whose stores speak TLS alone, with certificates of the test's own authority. Nothing in it restarts."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp
from chatctl.failure import tail
from chatctl.stack import logs, mysql_server, ports, program, redis_server
from chatctl.stack.mysql_flavours import flavour
from chatctl.stack.mysql_server import MysqlServer
from chatctl.stack.program import Program
from chatctl.stack.stack_file import JwtSettings, MysqlAddress, RedisAddress, StackFile

from tests.harness.authority import Authority, Identity

HOST: Final = "127.0.0.1"
"""The name for which the stores' certificates are. `localhost` leads to them too, and is another."""
START_S: Final = 60
ENCRYPTED_ALONE: Final = "--require-secure-transport=ON"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedSystem:
    """Its stores run; its services are the test's to start."""

    stack: StackFile
    folder: Path
    authority: Authority
    running: AsyncExitStack

    def variables(self, *, host: str = HOST, authority: Path | None = None) -> dict[str, str]:
        """Give what a service is told of both stores beside what every stack tells it."""
        trusted = str(authority or self.authority.certificate)
        return {
            "CHAT_REDIS_URL": f"rediss://{host}:{self.stack.redis.port}/0",
            "CHAT_REDIS_TLS_CA": trusted,
            "CHAT_MYSQL_HOST": host,
            "CHAT_MYSQL_TLS_CA": trusted,
        }

    async def run(self, made: Program, told: Mapping[str, str]) -> int:
        """Run a program to its end; gives its exit code."""
        process = await program.start(_told(made, told), self.folder)
        async with asyncio.timeout(START_S):
            return await process.wait()

    async def start(self, made: Program, told: Mapping[str, str]) -> None:
        """Start a service."""
        await _started(self.running, _told(made, told), self.folder)

    async def serve(self, made: Program, told: Mapping[str, str]) -> None:
        """Start a service, and wait until it is ready."""
        await self.start(made, told)
        url = str(made.metrics_url).replace("/metrics", "/readyz")
        await self._until(lambda: _answers_200(url), made.name)

    async def said(self, made: Program, words: str) -> str:
        """Wait until a service's log has a line with the words; gives it."""
        found: list[str] = []

        async def look() -> bool:
            found.extend(line for line in self.log(made).splitlines() if words in line)
            return bool(found)

        await self._until(look, made.name)
        return found[0]

    def log(self, made: Program) -> str:
        """Give what a program has written."""
        return logs.path_of(self.folder, made.name).read_text(encoding="utf-8")

    async def _until(self, holds: Callable[[], Awaitable[bool]], name: str) -> None:
        try:
            async with asyncio.timeout(START_S):
                while not await holds():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError("\n".join(tail(logs.path_of(self.folder, name)))) from None


@asynccontextmanager
async def encrypted_system(folder: Path) -> AsyncIterator[EncryptedSystem]:
    """Start the stores."""
    authority = Authority.found(folder)
    identity = authority.vouch(HOST)
    stack = described(folder)
    options = {"ssl-ca": authority.certificate, "ssl-cert": identity.certificate, "ssl-key": identity.key}
    async with AsyncExitStack() as running:
        await _started(running, _redis(folder, stack, identity), folder)
        await running.enter_async_context(
            database(folder, stack, *(f"--{name}={value}" for name, value in options.items()), ENCRYPTED_ALONE)
        )
        await _listening(stack.redis.port)
        yield EncryptedSystem(stack=stack, folder=folder, authority=authority, running=running)


@asynccontextmanager
async def database(folder: Path, stack: StackFile, *options: str) -> AsyncIterator[None]:
    """Run a stack's MariaDB with further options."""
    server = MysqlServer(folder=folder, address=stack.mysql, flavour=flavour("mariadb"), workers=1)
    await asyncio.to_thread(server.prepare)
    made = server.program()
    try:
        async with AsyncExitStack() as running:
            await _started(running, replace(made, command=(*made.command, *options)), folder)
            await _listening(stack.mysql.port, greets=True)
            yield
    finally:
        mysql_server.remove_socket(Path(stack.mysql.socket), folder)


def described(folder: Path) -> StackFile:
    """Give a stack its ports and passwords."""
    redis_port, mysql_port = ports.private(2)
    mysql = MysqlAddress(
        host=HOST,
        port=mysql_port,
        user="chat",
        password=secrets.token_hex(16),
        database="chat",
        socket=str(mysql_server.socket_path(folder)),
    )
    return StackFile(
        processes=(),
        redis=RedisAddress(port=redis_port, password=secrets.token_hex(16)),
        mysql=mysql,
        jwt=JwtSettings(secret=secrets.token_hex(32), audience="chat", issuer="chat"),
        origins=(),
    )


def _redis(folder: Path, stack: StackFile, identity: Identity) -> Program:
    made = redis_server.redis_program(folder=folder / "redis", port=0, password=stack.redis.password)
    options = {
        "tls-port": stack.redis.port,
        "tls-cert-file": identity.certificate,
        "tls-key-file": identity.key,
        "tls-auth-clients": "no",  # who they are, they prove by password
    }
    with (folder / "redis" / "redis.conf").open("a", encoding="utf-8") as file:
        file.writelines(f'{name} "{value}"\n' for name, value in options.items())
    return made


def _told(made: Program, told: Mapping[str, str]) -> Program:
    return replace(made, environment={**made.environment, **told})


async def _started(running: AsyncExitStack, made: Program, folder: Path) -> None:
    process = await program.start(made, folder)
    running.push_async_callback(program.stop, process, made.stop_s)


async def _listening(port: int, *, greets: bool = False) -> None:
    """Wait until a server lets connections in; one that greets must have done so."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    if not greets or await reader.read(1):
                        return
                finally:
                    writer.close()
            except OSError:
                pass
            await asyncio.sleep(0.05)


async def _answers_200(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
