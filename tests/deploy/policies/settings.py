"""Policies of variables: each is one that the service knows, all together make a configuration that it takes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chatctl.deployment import RedisSettings
from delivery_worker import grants
from delivery_worker.settings import MySQLSettings, WorkerSettings
from gateway.settings import GatewaySettings
from presence.settings import PresenceSettings
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from tests.deploy.manifests import OURS, Container, Manifests, Reference
from tests.deploy.policies.policy import Policy


class CommandSettings(RedisSettings, MySQLSettings):
    """What `chatctl` reads to find a system."""


READERS: Final[Mapping[tuple[str, tuple[str, ...]], type[BaseSettings]]] = {
    ("chat/gateway", ()): GatewaySettings,
    ("chat/presence", ()): PresenceSettings,
    ("chat/delivery-worker", ()): WorkerSettings,
    ("chat/delivery-worker", ("migrate",)): MySQLSettings,
    ("chat/delivery-worker", ("await-schema",)): MySQLSettings,
    ("chat/chatctl", ()): CommandSettings,
}
"""Which settings a process reads, by its image and arguments."""

EXPLICIT: Final = {"CHAT_REDIS_URL", "CHAT_REDIS_USER", "CHAT_REDIS_PASSWORD", "CHAT_NAME", "CHAT_SHUTDOWN_S"} | {
    "CHAT_METRICS_HOST",
    "CHAT_METRICS_PORT",
}
"""What a service is always told, though its settings have defaults: those are a local stack's."""
MYSQL: Final = {"CHAT_MYSQL_HOST", "CHAT_MYSQL_USER", "CHAT_MYSQL_PASSWORD", "CHAT_MYSQL_DATABASE"}
LONGEST: Final = "-0123456789-abcde"
"""What the cluster puts behind a deployment's name to name a pod."""
SECRET: Final = "x" * 40

USERS: Final = {image: image.removeprefix("chat/") for image in OURS}


def reader(container: Container) -> type[BaseSettings]:
    """Give the settings that a process of ours reads."""
    return READERS[container.image, tuple(container.body.get("args", ()))]


def read(container: Container, manifests: Manifests) -> BaseSettings:
    """Read a container's variables as its process would. Raises `ValidationError`."""
    values: dict[str, Any] = {}
    for name, value in container.environment(manifests).items():
        if isinstance(value, Reference):
            value = SECRET if value.kind == "Secret" else container.workload.name + LONGEST
        values[name.removeprefix("CHAT_").lower()] = value
    return reader(container).model_validate({name: value for name, value in values.items() if value != ""})


def ours(manifests: Manifests) -> Iterator[Container]:
    """Give the containers of our images."""
    return (one for one in manifests.containers() if one.image in OURS)


def _known(manifests: Manifests) -> Iterator[str]:
    for container in ours(manifests):
        known = {f"CHAT_{field.upper()}" for field in reader(container).model_fields}
        for name in container.environment(manifests).keys() - known:
            yield f"{container.where} is told {name}, which it does not know"


def _complete(manifests: Manifests) -> Iterator[str]:
    for container in ours(manifests):
        told = container.environment(manifests).keys()
        wanted = (EXPLICIT if container.body.get("ports") else set()) | (
            MYSQL if container.image in ("chat/delivery-worker", "chat/chatctl") else set()
        )
        for name in wanted - told:
            yield f"{container.where} is not told {name}"
        if container.image == "chat/gateway" and not {"CHAT_JWT_SECRET", "CHAT_JWKS_URL", "CHAT_JWKS_FILE"} & told:
            yield f"{container.where} can check no token"


def _taken(manifests: Manifests) -> Iterator[str]:
    for container in ours(manifests):
        try:
            read(container, manifests)
        except ValidationError as error:
            yield f"{container.where}: {error}"


def _resolved(manifests: Manifests) -> Iterator[str]:
    """A name that leads nowhere keeps a pod from starting."""
    keys = {one["metadata"]["name"]: one.get("data", {}).keys() for one in manifests.of("Secret")}
    keys |= {
        one["spec"]["target"]["name"]: {entry["secretKey"] for entry in one["spec"]["data"]}
        for one in manifests.of("ExternalSecret")
    }
    for container in manifests.containers():
        for variable in container.body.get("env", ()):
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            if source and source["key"] not in keys.get(source["name"], ()):
                yield f"{container.where} takes {variable['name']} from {source}, which nobody brings"
        for source in container.body.get("envFrom", ()):
            if manifests.one("ConfigMap", source["configMapRef"]["name"]) is None:
                yield f"{container.where} reads {source}, which nobody brings"


def _hidden(manifests: Manifests) -> Iterator[str]:
    if manifests.name != "dev":
        yield from (f"Secret {one['metadata']['name']} is in the manifests" for one in manifests.of("Secret"))
    for container in manifests.containers():
        for name, value in container.environment(manifests).items():
            if isinstance(value, str) and name.endswith(("PASSWORD", "SECRET")) and "RANDOM" not in name:
                yield f"{container.where} is told {name} in clear"
            if isinstance(value, str) and "://" in value and "@" in value:
                yield f"{container.where} has somebody's name in {name}"


def _themselves(manifests: Manifests) -> Iterator[str]:
    """Each comes to the stores as itself, or what it may do there would bind nobody."""
    for container in ours(manifests):
        told = container.environment(manifests)
        secret = told.get("CHAT_REDIS_PASSWORD")
        user = told.get("CHAT_REDIS_USER")
        if user is not None and not (
            user == USERS[container.image] and isinstance(secret, Reference) and secret.key == user
        ):
            yield f"{container.where} comes to Redis as {user} with {secret}"
        part: grants.Part = "migrator" if container.body.get("args") == ["migrate"] else "application"
        account, password = told.get("CHAT_MYSQL_USER"), told.get("CHAT_MYSQL_PASSWORD")
        if account is not None and not (
            account == grants.ACCOUNTS[part] and isinstance(password, Reference) and password.key == part
        ):
            yield f"{container.where} comes to MySQL as {account} with {password}"
        if part == "migrator" and told.get("CHAT_MYSQL_APPLICATION") != grants.ACCOUNTS["application"]:
            yield f"{container.where} gives its rights to another than the services"


def _environment(manifests: Manifests, part: str) -> list[dict[str, Any]]:
    variables: list[dict[str, Any]] = manifests.workload(part).main.body["env"]
    return variables


def _set(manifests: Manifests, part: str, name: str, **value: Any) -> None:
    variables = _environment(manifests, part)
    variables[:] = [one for one in variables if one["name"] != name]
    if value:
        variables.append({"name": name, **value})


def _keys_twice(manifests: Manifests) -> None:
    _set(manifests, "gateway", "CHAT_JWKS_URL", value="https://keys.example.com")
    _set(manifests, "gateway", "CHAT_JWKS_FILE", value="/etc/chat/keys.json")


POLICIES: Final = (
    Policy(
        says="every variable is one that its service knows",
        faults=_known,
        mistakes=(
            lambda m: _set(m, "gateway", "CHAT_MAX_CONECTIONS", value="1"),
            lambda m: _set(m, "gateway", "CHAT_MYSQL_HOST", value="mysql.example.com"),
            lambda m: m.named("ConfigMap", "migrations")["data"].update(CHAT_BATCH_EVENTS="1"),
        ),
    ),
    Policy(
        says="a service is told where its stores are, who it is, and how to check tokens",
        faults=_complete,
        mistakes=(
            lambda m: _set(m, "presence", "CHAT_REDIS_PASSWORD"),
            lambda m: _set(m, "gateway", "CHAT_JWT_SECRET"),
            lambda m: m.named("ConfigMap", "chat-mysql")["data"].pop("CHAT_MYSQL_HOST"),
        ),
    ),
    Policy(
        says="a service takes its variables as they are",
        faults=_taken,
        mistakes=(
            lambda m: m.named("ConfigMap", "gateway")["data"].update(CHAT_PORT="99999"),
            lambda m: m.named("ConfigMap", "chat-presence")["data"].update(CHAT_PRESENCE_TTL_S="5"),
            _keys_twice,
            lambda m: m.named("ConfigMap", "chat")["data"].update(CHAT_REDIS_URL="redis://redis.example.com:6379/0"),
            lambda m: m.workload("delivery-worker").body["metadata"].update(name="delivery-worker-of-the-eastern-zone"),
        ),
    ),
    Policy(
        says="every secret and every set of variables that is named is brought by somebody",
        faults=_resolved,
        mistakes=(
            lambda m: m.named("ExternalSecret", "chat-redis")["spec"]["data"].pop(0),
            lambda m: m.resources.remove(m.named("ExternalSecret", "chat-jwt")),
            lambda m: m.resources.remove(m.named("ConfigMap", "chat-presence")),
        ),
    ),
    Policy(
        says="no secret stands in the manifests",
        faults=_hidden,
        mistakes=(
            lambda m: _set(m, "gateway", "CHAT_JWT_SECRET", value=SECRET),
            lambda m: m.resources.append({"kind": "Secret", "metadata": {"name": "one"}}),
            lambda m: m.named("ConfigMap", "chat")["data"].update(CHAT_REDIS_URL="rediss://me:pass@redis:6379/0"),
        ),
    ),
    Policy(
        says="each comes to Redis and MySQL under its own account",
        faults=_themselves,
        mistakes=(
            lambda m: _set(m, "gateway", "CHAT_REDIS_USER", value="presence"),
            lambda m: _set(m, "delivery-worker", "CHAT_MYSQL_USER", value="chat_migrator"),
            lambda m: m.named("ConfigMap", "migrations")["data"].pop("CHAT_MYSQL_APPLICATION"),
        ),
    ),
)
