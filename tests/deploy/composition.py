"""Owns how tests read compose.yaml: its variables filled in as Compose does, and its shape held to what is used of it.

https://github.com/compose-spec/compose-spec/blob/main/spec.md
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tests.harness.programs import ROOT

FILE: Final = ROOT / "compose.yaml"
VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Z_]+)(?:(:\?|:-)([^}]*))?\})")

Duration = Annotated[str, Field(pattern=r"^\d+s$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class Strict(BaseModel):
    """A mapping without any other key: a name that Compose does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Disabled(Strict):
    """The image's own health check, switched off."""

    disable: Literal[True]


class HealthCheck(Strict):
    """What a container is asked, in exec form."""

    test: list[str]
    interval: Duration
    timeout: Duration
    retries: int


class Dependency(Strict):
    """What has to be there first."""

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Build(Strict):
    """How an image of ours is made."""

    context: Literal["."]
    dockerfile: str


class ConfigMount(Strict):
    """Where a config lies in a container."""

    source: Word
    target: str


class Config(Strict):
    """A file that stands in compose.yaml."""

    content: str


class Service(Strict):
    """One service. A field here is one that Compose knows."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9_/-]+:v?\d+\.\d+\.\d+$")]
    """Pinned to a release, to its last part."""
    build: Build | None = None
    command: list[str] = []
    profiles: list[Word] = []
    """Of none, and `docker compose up` starts it."""
    environment: dict[str, str] = {}
    depends_on: dict[Word, Dependency] = {}
    healthcheck: HealthCheck | Disabled | None = None
    restart: Annotated[str, Field(pattern=r"^(no|unless-stopped|on-failure:\d+)$")]
    stop_grace_period: Duration = "10s"
    ports: list[Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = []
    """Of this machine alone: nothing here is TLS."""
    volumes: list[str] = []
    configs: list[ConfigMount] = []
    ulimits: dict[Literal["nofile"], int] = {}
    init: bool = False
    read_only: bool = False
    cap_drop: list[Literal["ALL"]] = []
    security_opt: list[Literal["no-new-privileges:true"]] = []

    @property
    def name(self) -> str:
        """Its image without the release."""
        return self.image.partition(":")[0]

    @property
    def release(self) -> str:
        """The release of its image."""
        return self.image.partition(":")[2]

    @property
    def ours(self) -> bool:
        """Tell whether its image is built here."""
        return self.build is not None


class Composition(BaseModel):
    """The whole file, but for its `x-` fragments."""

    model_config = ConfigDict(extra="forbid")

    name: Word
    services: dict[Word, Service]
    configs: dict[Word, Config]
    volumes: dict[Word, None]


class Unset(Exception):
    """A variable that must be given and is not; with what Compose would say."""


def read(environment: Mapping[str, str]) -> Composition:
    """Read compose.yaml with these variables. Raises `Unset`, and pydantic's `ValidationError`."""
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    used = {name: value for name, value in document.items() if not name.startswith("x-")}
    return TypeAdapter(Composition).validate_python(_filled(used, environment))


def variables() -> set[str]:
    """Give the variables that must be given."""
    return {match[2] for match in VARIABLE.finditer(FILE.read_text(encoding="utf-8")) if match[3] == ":?"}


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(part, environment) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, environment) for part in value]
    return VARIABLE.sub(lambda match: _variable(match, environment), value) if isinstance(value, str) else value


def _variable(match: re.Match[str], environment: Mapping[str, str]) -> str:
    escaped, name, how, word = match.groups()
    if escaped:
        return "$"
    value = environment.get(name, "")
    if not value and how == ":?":
        raise Unset(f"{name}: {word}")
    return value or (word if how == ":-" else "")
