"""Owns the settings that every service has, and how a service reads its own: from the environment, once, at start."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from chatcore.errors import ConfigurationError

NAME_PATTERN = r"^[A-Za-z0-9._\-]{1,40}$"


class ServiceSettings(BaseSettings):
    """What all services share. Each field is the environment variable `CHAT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="CHAT_", env_ignore_empty=True, frozen=True)

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = "local"
    """This process's name in logs, in `welcome` and in `stack.json`. Need not be unique: each start adds randomness."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """`redis://` or `rediss://` (TLS), with user and password where the server wants them."""

    key_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{1,40}$")] = "chat"
    """All keys begin with it. Services that are to see each other need the same one."""

    metrics_host: str = "127.0.0.1"
    """Where `/healthz`, `/readyz` and `/metrics` listen. In a container: `0.0.0.0`."""

    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Its port; 0 lets the system choose one, which the log then names."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""

    log_format: Literal["json", "console"] = "json"
    """`json` for machines, `console` for people."""

    shutdown_s: Annotated[float, Field(gt=0, le=3_600)] = 25.0
    """Seconds from SIGTERM to the end. Below Kubernetes' default grace of 30 s, or the rest is a SIGKILL."""


Names = Annotated[tuple[str, ...], NoDecode]
"""A list in one variable, separated by commas. Its field needs `split_names` as a validator."""


def split_names(value: Any) -> Any:
    """Split `a,b` into its parts; leave anything but a string alone."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S]) -> S:
    """Read the environment. Raises `ConfigurationError` that names each variable at fault."""
    try:
        return kind()
    except ValidationError as error:
        faults = "; ".join(
            f"CHAT_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(faults) from None
