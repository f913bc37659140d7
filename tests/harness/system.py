"""Owns what the end-to-end tests may know of a running system: its addresses, its processes, its stores' doors.

A Protocol only: the stack that the tests start fulfils it, and so could one that runs elsewhere.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from redis.asyncio import Redis

PROC: Final = Path("/proc")
ROOT: Final = Path(__file__).parents[2]
"""Where `python -m tests.…` finds the tests."""


class Process(Protocol):
    """One entry of `stack.json`."""

    @property
    def name(self) -> str:
        """As in `gateway-1`."""

    @property
    def role(self) -> str:
        """One of gateway, worker, presence, redis, mysql."""

    @property
    def pid(self) -> int | None:
        """None while it is down."""

    @property
    def url(self) -> str | None:
        """Where it listens; a gateway's is the base of its WebSocket."""


class System(Protocol):
    """A running system under test."""

    def processes(self) -> Sequence[Process]:
        """Read the processes as they are now."""

    def gateways(self) -> list[str]:
        """Return the gateways' WebSocket base URLs."""

    def token(self, user: str, device: str | None = None, *, ttl_s: float = 3600, **claims: Any) -> str:
        """Sign a token that the gateways accept; `claims` are laid over it."""

    def pid(self, name: str) -> int:
        """Return the process id of the process of that name."""

    def signal(self, name: str, sig: int) -> None:
        """Send a signal to it."""

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until every service is ready."""

    def redis(self) -> "Redis":
        """Return a client of the system's Redis; the caller closes it."""

    def mysql(self) -> AbstractAsyncContextManager[Any]:
        """Open a connection to the system's MySQL."""


MakeSystem = Callable[..., Awaitable[System]]


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with: a service's whole configuration."""
    pairs = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has in RAM."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ExtraService:
    """One more process of a service, with the configuration of one that runs: the test's own, so its end is seen."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int, log: Path) -> None:
        self._process = process
        self._metrics_port = metrics_port
        self._log = log
        self.url = f"ws://127.0.0.1:{port}"

    @classmethod
    async def start(
        cls,
        system: System,
        like: str,
        *,
        log: Path,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "ExtraService":
        """Start a twin of the process named `like`, or `command` with its configuration, under a name of its own."""
        pid = system.pid(like)
        port, metrics_port = free_port(), free_port()
        own = {
            **environment_of(pid),
            "CHAT_NAME": f"{like}-extra",
            "CHAT_PORT": str(port),
            "CHAT_METRICS_PORT": str(metrics_port),
            **(environment or {}),
        }
        words = (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        arguments = [sys.executable, *command] if command is not None else [word.decode() for word in words]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(*arguments, env=own, cwd=ROOT, stdout=output, stderr=output)
        return cls(process, port, metrics_port, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until it answers 200 on /readyz."""
        async with asyncio.timeout(timeout_s):
            while not await self._is_ready():
                if self._process.returncode is not None:
                    raise AssertionError(f"it ended with {self._process.returncode}: {self.log_tail()}")
                await asyncio.sleep(0.1)

    async def _is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._metrics_port)
        except OSError:
            return False
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(2):
                return b" 200 " in await reader.readline()
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def wait_stopped(self, timeout_s: float = 30) -> None:
        """Wait until it is held by a SIGSTOP."""
        async with asyncio.timeout(timeout_s):
            while (PROC / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[0] != "T":
                await asyncio.sleep(0.02)

    async def exit_code(self, timeout_s: float = 60) -> int:
        """Wait for its end."""
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it for certain; safe to repeat."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def log_tail(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text(errors="replace")[-2000:]


def name_of_gateway(system: System, base: str) -> str:
    """Return the name of the gateway that listens at an address."""
    return next(process.name for process in system.processes() if process.url == base)
