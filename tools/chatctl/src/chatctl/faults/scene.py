"""A private stack for a run that breaks it: every line between its parts, and to clients, passes a proxy of ours."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from chatctl.faults.clocks import Clocks
from chatctl.faults.proxy import Address, Proxy
from chatctl.faults.shape import Shape
from chatctl.stack import ports
from chatctl.stack.running import RunningStack
from chatctl.stack.stack_file import StackFile
from chatctl.stack.supervisor import Options, Supervisor

Modules = Mapping[str, tuple[str, ...]]


class Scene:
    """What a run may know of the stack that it drives and breaks."""

    def __init__(self, stack: RunningStack, shape: Shape, proxies: Mapping[str, Proxy], clocks: Clocks) -> None:
        self.stack, self.shape, self.clocks = stack, shape, clocks
        self.gateways = [f"ws://127.0.0.1:{proxies[line].port}" for line in shape.client_lines]
        """The base URLs of the gateways for clients, through the proxies."""
        self.on_step: Callable[[str, bool], None] = lambda _target, _begins: None
        """Hears when a rolling restart asks a process to stop (True), and when it is over. The nemesis sets it."""
        self._proxies = proxies

    @property
    def folder(self) -> Path:
        """Where the stack keeps its data and its logs."""
        return self.stack.folder

    def token(self, user: str, device: str | None = None, *, ttl_s: float = 3600) -> str:
        """Sign a token that the gateways accept."""
        return self.stack.token(user, device, ttl_s=ttl_s)

    def mysql(self) -> AbstractAsyncContextManager[Any]:
        """Open a connection to MySQL past the proxies, as its all-powerful user."""
        return self.stack.mysql()

    def redis(self) -> Redis:
        """Return a client of Redis past the proxies; the caller closes it."""
        return self.stack.redis()

    async def metrics(self, name: str) -> dict[str, float]:
        """Read a service's metrics."""
        return await self.stack.metrics(name)

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until every service is ready. Raises `TimeoutError`."""
        await self.stack.wait_ready(timeout_s)

    def pid(self, name: str) -> int:
        """Return a process's id. Raises `ProcessLookupError` while it is down."""
        return self.stack.pid(name)

    def signal(self, name: str, sig: int) -> None:
        """Send a signal to a process. Raises `ProcessLookupError` while it is down."""
        self.stack.signal(name, sig)

    def proxy(self, line: str) -> Proxy:
        """Return the proxy of a line, named as in `Shape.lines`."""
        return self._proxies[line]


@asynccontextmanager
async def make_scene(
    directory: Path,
    *,
    gateways: int = 2,
    workers: int = 2,
    presence: int = 1,
    environment: Mapping[str, str] | None = None,
    modules: Modules | None = None,
    seed: int = 0,
) -> AsyncIterator[Scene]:
    """Run a stack for the length of a block. Raises `Failure` when it cannot be started.

    `directory` is the run's own. `environment` holds settings for all services; `modules` names, for a service as in
    `worker-1`, the module that runs in its place.
    """
    shape = Shape(gateways=gateways, workers=workers, presence=presence)
    stack = RunningStack(directory / "stack")
    clocks = Clocks(directory / "clocks")
    proxies = _proxies(shape, stack, seed)
    async with AsyncExitStack() as running:
        for proxy in proxies.values():
            await running.enter_async_context(proxy)
        options = Options(
            folder=stack.folder,
            gateways=gateways,
            workers=workers,
            presence=presence,
            port=0,
            fresh=True,
            environment=dict(environment or {}),
            own={name: {**clocks.environment(name), **_ways(name, proxies)} for name in shape.clocks},
            modules=modules or {},
        )
        await running.enter_async_context(Supervisor(options, lambda _: None).running())
        yield Scene(stack, shape, proxies, clocks)


def _proxies(shape: Shape, stack: RunningStack, seed: int) -> dict[str, Proxy]:
    made = {}
    for line, port in zip(shape.lines, ports.private(len(shape.lines)), strict=True):
        random = Random(f"{seed} {line}")  # noqa: S311 - a seed is to give the same again
        made[line] = Proxy(line, port=port, upstream=_Upstream(stack, line), random=random)
    return made


def _ways(name: str, proxies: Mapping[str, Proxy]) -> dict[str, str]:
    """Return the settings that lead a service through its proxies."""
    ways = {}
    if (redis := proxies.get(f"{name}:redis")) is not None:
        ways["CHAT_REDIS_URL"] = f"redis://127.0.0.1:{redis.port}/0"
    if (mysql := proxies.get(f"{name}:mysql")) is not None:
        ways |= {"CHAT_MYSQL_HOST": "127.0.0.1", "CHAT_MYSQL_PORT": str(mysql.port)}
    return ways


class _Upstream:
    """Where a line leads: read once, when the stack has said it. Raises `Failure` before that."""

    def __init__(self, stack: RunningStack, line: str) -> None:
        self._stack = stack
        self._service, _, self._to = line.partition(":")
        self._found: Address | None = None

    def __call__(self) -> Address:
        self._found = self._found or self._read(self._stack.file)
        return self._found

    def _read(self, file: StackFile) -> Address:
        if self._to == "redis":
            return "127.0.0.1", file.redis.port
        if self._to == "mysql":
            return file.mysql.host, file.mysql.port
        [url] = [process.url for process in file.processes if process.name == self._service]
        return "127.0.0.1", urlsplit(url or "").port or 0
