"""Runs a stack: starts its processes in order, keeps them running, says what runs in `stack.json`, stops them in order.

It is idle while nothing happens. Whatever fails before everything is ready stops what was started.
"""

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp

from chatctl.failure import Failure
from chatctl.stack import logs, mysql_server, ports, program, redis_server, services, stack_file, strays
from chatctl.stack.keeper import Keeper
from chatctl.stack.mysql_flavours import FlavourName, flavour
from chatctl.stack.mysql_server import MysqlServer
from chatctl.stack.program import Program
from chatctl.stack.stack_file import JwtSettings, MysqlAddress, RedisAddress, Role, StackFile

READY_S: Final = 60.0
"""Seconds for one step of the start: a database that recovers after a crash needs some."""
POLL_S: Final = 0.1
"""Between two looks whether something is ready; only while the stack starts."""
MIGRATE_S: Final = 120.0
"""Seconds for the migrations of an empty or a small database."""
STOP_ORDER: Final[tuple[Role, ...]] = ("gateway", "worker", "presence", "redis", "mysql")
"""Who stops first is whom the others do not need."""
KEPT: Final = ("supervisor.lock", "supervisor.log")
"""What `--fresh` leaves: the lock is held by then, and the log is being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `up` was asked for."""

    folder: Path
    gateways: int = 2
    workers: int = 2
    presence: int = 1
    port: int = 8080
    fresh: bool = False
    database: FlavourName = "mariadb"
    environment: dict[str, str] = field(default_factory=dict)
    """Set for every service, on top of what the stack sets."""
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By a process's name, a store's too: set for it alone, on top of all others."""
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By a service's name: the module, with its arguments, that runs in the service's place."""
    owner: int | None = None
    """The process at whose end the stack stops; None for one that stops when told."""


class Supervisor:
    """One stack. `run` starts it, calls `announce` when it is ready, and stops it when it is told or a start fails."""

    def __init__(self, options: Options, announce: Callable[[StackFile], None]) -> None:
        self._options = options
        self._announce = announce
        self._keepers: list[Keeper] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stack: StackFile | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Run the stack until SIGINT or SIGTERM. Raises `Failure`."""
        async with self._held():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stop.set)
            self._watch_owner(loop)
            (self._options.folder / "supervisor.pid").write_text(str(os.getpid()), encoding="ascii")
            await self._until_stopped(self._start())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[StackFile]:
        """Run the stack for the length of a block, for a program that drives it itself. Raises `Failure`."""
        async with self._held():
            await self._start()
            yield self._described

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Hold the folder for the length of a block, and stop at its end whatever was started in it."""
        folder = self._options.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = lock_of(folder)
        try:
            self._prepare()
            tidy = asyncio.create_task(logs.keep_bounded(folder), name="logs")
            try:
                yield
            finally:
                tidy.cancel()
                await self._stop_all()
        finally:
            os.close(lock)

    def _watch_owner(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._options.owner is None:
            return
        try:
            handle = os.pidfd_open(self._options.owner)  # readable once the process has ended (pidfd_open(2))
        except ProcessLookupError:
            self._stop.set()
            return
        loop.add_reader(handle, self._owner_ended, loop, handle)

    def _owner_ended(self, loop: asyncio.AbstractEventLoop, handle: int) -> None:
        loop.remove_reader(handle)
        os.close(handle)
        self._stop.set()

    def _prepare(self) -> None:
        folder, options = self._options.folder, self._options
        strays.end(folder)
        before = stack_file.read(folder)
        if options.fresh:
            for path in folder.iterdir():
                if path.name not in KEPT:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            before = None
        redis_port, mysql_port = ports.private(2)
        socket = str(mysql_server.socket_path(folder))
        password = before.mysql.password if before else secrets.token_hex(16)
        secret = before.jwt.secret if before else secrets.token_hex(32)
        self._stack = StackFile(
            processes=(),
            redis=RedisAddress(port=redis_port, password=secrets.token_hex(16)),
            mysql=MysqlAddress(
                host="127.0.0.1", port=mysql_port, user="chat", password=password, database="chat", socket=socket
            ),
            jwt=JwtSettings(secret=secret, audience="chat", issuer="chat"),
            origins=("http://localhost:8000",),
        )

    @property
    def _described(self) -> StackFile:
        assert self._stack is not None  # noqa: S101 - `_prepare` ran
        return self._stack

    async def _until_stopped(self, start: Awaitable[None]) -> None:
        starting = asyncio.ensure_future(start)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopped
        finally:
            starting.cancel()
            stopped.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)

    async def _start(self) -> None:
        options, stack = self._options, self._described
        place, redis = options.folder / "redis", stack.redis
        self._keep(redis_server.redis_program(folder=place, port=redis.port, password=redis.password))
        engine = flavour(options.database)
        server = MysqlServer(folder=options.folder, address=stack.mysql, flavour=engine, workers=options.workers)
        await asyncio.to_thread(server.prepare)
        self._keep(server.program())
        await self._wait("redis", lambda: redis_server.answers(stack.redis.port))
        await self._wait("mysql", lambda: mysql_server.answers(stack.mysql))
        await self._migrate()
        self._start_services()
        for keeper in self._keepers:
            if url := keeper.program.metrics_url:
                await self._wait(keeper.program.name, partial(_is_ready, url))
        self._write()
        self._announce(self._described)

    def _start_services(self) -> None:
        options, stack = self._options, self._described
        public = ports.from_port(options.port, options.gateways) if options.port else ports.private(options.gateways)
        metrics = ports.private(options.gateways + options.workers + options.presence, taken=public)
        for number in range(1, options.presence + 1):
            self._keep(self._configured(services.presence(stack, number, metrics_port=metrics.pop())))
        for number in range(1, options.workers + 1):
            self._keep(self._configured(services.worker(stack, number, metrics_port=metrics.pop())))
        for number, port in enumerate(public, 1):
            self._keep(self._configured(services.gateway(stack, number, port=port, metrics_port=metrics.pop())))

    def _configured(self, made: Program) -> Program:
        module = self._options.modules.get(made.name)
        return replace(
            made,
            command=made.command if module is None else (sys.executable, "-m", *module),
            environment={**made.environment, **self._options.environment},
        )

    async def _migrate(self) -> None:
        made = services.migration(self._described)
        process = await program.start(made, self._options.folder)
        try:
            async with asyncio.timeout(MIGRATE_S):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            log = logs.path_of(self._options.folder, made.name)
            raise Failure("the schema could not be migrated", log=log, advice="mend what the log says, and try again")

    def _keep(self, made: Program) -> None:
        made = replace(made, environment={**made.environment, **self._options.own.get(made.name, {})})
        keeper = Keeper(made, stack=self._options.folder, changed=self._write)
        self._keepers.append(keeper)
        self._tasks[made.name] = asyncio.create_task(keeper.run(), name=made.name)

    def _write(self) -> None:
        entries = tuple(keeper.program.entry(keeper.pid) for keeper in self._keepers)
        self._stack = replace(self._described, processes=entries)
        stack_file.write(self._options.folder, self._stack)

    async def _wait(self, name: str, ready: Callable[[], Awaitable[bool]]) -> None:
        log = logs.path_of(self._options.folder, name)
        [keeper] = [keeper for keeper in self._keepers if keeper.program.name == name]
        try:
            async with asyncio.timeout(READY_S):
                while not await ready():
                    if self._tasks[name].done():
                        self._tasks[name].result()
                    if keeper.ended_with is not None:
                        what = f"{name} ended with {keeper.ended_with} before it was ready"
                        raise Failure(what, log=log, advice="mend what its log says, and try again")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise Failure(f"{name} was not ready within {READY_S:.0f} s", log=log, advice="read its log") from None

    async def _stop_all(self) -> None:
        for role in STOP_ORDER:
            ending = [keeper for keeper in self._keepers if keeper.program.role == role]
            await asyncio.gather(*(keeper.stop() for keeper in ending), return_exceptions=True)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        stack_file.write(self._options.folder, replace(self._described, processes=()))
        mysql_server.remove_socket(Path(self._described.mysql.socket), self._options.folder)
        (self._options.folder / "supervisor.pid").unlink(missing_ok=True)


def lock_of(folder: Path) -> int:
    """Take the folder's lock, which a supervisor holds for its life; gives the descriptor. Raises `Failure`."""
    descriptor = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Failure(
            f"a stack is up in {folder} already",
            advice="stop it with `./dev down`, or choose another folder with --dir",
        ) from None
    return descriptor


def is_locked(folder: Path) -> bool:
    """Tell whether a supervisor runs in a folder."""
    if not folder.is_dir():
        return False
    try:
        os.close(lock_of(folder))
    except Failure:
        return True
    return False


async def _is_ready(metrics_url: str) -> bool:
    url = metrics_url.removesuffix("/metrics") + "/readyz"
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    return False
