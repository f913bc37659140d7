"""Owns the settings that every service has, and how a service reads its own: from the environment, once, at start."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from chatcore.errors import ConfigurationError

NAME_PATTERN = r"^[A-Za-z0-9._\-]{1,40}$"


class ServiceSettings(BaseSettings):
    """What all services share. Each field is the environment variable `CHAT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="CHAT_", env_ignore_empty=True, frozen=True)

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = "local"
    """This process's name in logs, in `welcome` and in `stack.json`. Need not be unique: each start adds randomness."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """`redis://`, or `rediss://` for TLS or nothing, whose server must prove its name."""

    redis_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]*$")] = ""
    """The ACL user; each service has one of its own (`chatcore.acl`). Empty: the server's default user."""

    redis_password: SecretStr | None = None
    """Its password. Apart from the URL, so that it may hold any character and comes from a secret of its own."""

    redis_tls_ca: Path | None = None
    """Certificates of authorities to trust with `rediss://`, beside those that the system trusts."""

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

    @property
    def redis_dsn(self) -> str:
        """The URL with all that a client needs. It holds the password: never log it."""
        url = urlsplit(self.redis_url)
        if self.redis_password is not None:
            secret = quote(self.redis_password.get_secret_value(), safe="")
            url = url._replace(netloc=f"{self.redis_user}:{secret}@{url.netloc.rpartition('@')[2]}")
        if self.redis_tls_ca is not None:
            url = url._replace(query=f"ssl_ca_certs={quote(str(self.redis_tls_ca))}")
        return url.geturl()

    @model_validator(mode="after")
    def _redis_whole(self) -> Self:
        if self.redis_user and self.redis_password is None:
            raise ValueError("CHAT_REDIS_USER needs CHAT_REDIS_PASSWORD")
        if self.redis_tls_ca is not None and urlsplit(self.redis_url).scheme != "rediss":
            raise ValueError("CHAT_REDIS_TLS_CA needs a CHAT_REDIS_URL that begins with rediss://")
        return self


class TraceSettings(BaseSettings):
    """What the services share that a message passes through. Each field is the environment variable `CHAT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="CHAT_", env_ignore_empty=True, frozen=True)

    trace_endpoint: Annotated[str, Field(pattern=r"^(|log|https?://[^/\s].*)$")] = ""
    """Where spans go: a collector's base URL for OTLP over HTTP (`http://collector:4318`), `log` for lines of the log,
    or empty: no tracing, which costs nothing. Needs `chatcore[tracing]`."""

    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The share of conversations that is followed at a time; every 10 minutes others are (`chatcore.trace`)."""


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
        found = error.errors(include_url=False, include_input=False)
        raise ConfigurationError("; ".join(_told(fault["loc"], fault["msg"]) for fault in found)) from None


def _told(where: tuple[int | str, ...], fault: str) -> str:
    """Name the variable; a fault of several at once names them itself."""
    return f"CHAT_{'_'.join(str(part) for part in where).upper()}: {fault}" if where else fault
