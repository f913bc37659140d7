"""`stack.json`, the description of a running stack that other tools read. Owns its shape; never decides what runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from chatctl.failure import Failure

Role = Literal["gateway", "worker", "presence", "redis", "mysql"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEntry:
    """One process of the stack; `pid` is null in the moments in which it is down."""

    name: str
    role: Role
    pid: int | None
    url: str | None
    metrics_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where the private Redis listens, on 127.0.0.1, and the password of the services' users.

    The default user has none, and may do everything.
    """

    port: int
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlAddress:
    """Where the private MySQL listens and who may do everything in it."""

    host: str
    port: int
    user: str
    password: str
    database: str
    socket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """What the gateways demand of an HS256 token."""

    secret: str
    audience: str
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFile:
    """All that a tool needs to drive a stack, and to break it."""

    processes: tuple[ProcessEntry, ...]
    redis: RedisAddress
    mysql: MysqlAddress
    jwt: JwtSettings
    origins: tuple[str, ...]

    def gateway_urls(self) -> list[str]:
        """Return the base URLs of the gateways' WebSockets."""
        return [process.url for process in self.processes if process.role == "gateway" and process.url]

    def is_up(self) -> bool:
        """Tell whether it describes a stack with processes, not one that was stopped."""
        return bool(self.processes)


_ADAPTER = TypeAdapter(StackFile)


def path_in(folder: Path) -> Path:
    """Return where the stack of a folder keeps its description."""
    return folder / "stack.json"


def read(folder: Path) -> StackFile | None:
    """Return the description in a folder, or None where no stack ever was (or an unreadable one)."""
    try:
        return _ADAPTER.validate_json(path_in(folder).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def read_running(folder: Path) -> StackFile:
    """Return the description of the stack that runs in a folder, or fail with what to do."""
    stack = read(folder)
    if stack is None or not stack.is_up():
        raise Failure(f"no stack is up in {folder}", advice="start one with `./dev up`, or name its folder with --dir")
    return stack


def write(folder: Path, stack: StackFile) -> None:
    """Replace the description: whoever reads sees the old one or the new one, never half of one."""
    fresh = folder / "stack.json.new"
    fresh.touch(mode=0o600)  # it holds the password and the signing secret
    fresh.write_bytes(_ADAPTER.dump_json(stack, indent=2) + b"\n")
    fresh.replace(path_in(folder))
