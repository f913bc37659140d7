"""Policies of the stores: who may do what in them, and how they are reached."""

import base64
from collections.abc import Iterator
from typing import Any, Final

from chatcore.keys import Keys
from chatctl.commands.accounts import acl_of, grants_of

from tests.deploy.manifests import Manifests
from tests.deploy.policies.policy import Policy
from tests.deploy.policies.settings import ours, read


def decoded(manifests: Manifests, name: str) -> dict[str, str]:
    """Read what a secret holds."""
    data: dict[str, str] = manifests.named("Secret", name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _redis_accounts(manifests: Manifests) -> Iterator[str]:
    """What the development's Redis lets in is what `chatctl acl` prints, for the prefix that the services use."""
    if not manifests.of("Secret"):
        return
    prefix = manifests.named("ConfigMap", "chat")["data"].get("CHAT_KEY_PREFIX", Keys().prefix)
    if decoded(manifests, "redis-users")["users.acl"] != acl_of(decoded(manifests, "chat-redis"), prefix=prefix):
        yield "Redis lets in others than the services have passwords for, or lets them do something else"


def _mysql_accounts(manifests: Manifests) -> Iterator[str]:
    if not manifests.of("Secret"):
        return
    database = manifests.named("ConfigMap", "chat-mysql")["data"]["CHAT_MYSQL_DATABASE"]
    made = grants_of(decoded(manifests, "chat-mysql"), database=database, tls=False)
    if not decoded(manifests, "mysql-users")["users.sql"].endswith(made):
        yield "MySQL makes other accounts than the services have passwords for"
    told = {one["name"]: one["value"] for one in manifests.workload("mysql").main.body["env"]}
    if told.get("MYSQL_DATABASE") != database:
        yield f"MySQL makes the database {told.get('MYSQL_DATABASE')}, and the services use {database}"


def _encrypted(manifests: Manifests) -> Iterator[str]:
    """Where the stores are elsewhere, nothing goes to them in the clear."""
    if manifests.name == "dev":
        return
    for container in ours(manifests):
        settings: Any = read(container, manifests)
        if not str(getattr(settings, "redis_url", "rediss:")).startswith("rediss:"):
            yield f"{container.where} speaks to Redis in the clear"
        if getattr(settings, "mysql_tls_ca", True) is None:
            yield f"{container.where} speaks to MySQL in the clear"
    for container in manifests.containers():
        mounts = [mount["mountPath"] for mount in container.body.get("volumeMounts", ())]
        for name, value in container.environment(manifests).items():
            if name.endswith("_TLS_CA") and not any(str(value).startswith(f"{mount}/") for mount in mounts):
                yield f"{container.where} is to trust {value}, which is not there"


def _mounted(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        volumes = {one["name"] for one in workload.pod.get("volumes", ())}
        volumes |= {one["metadata"]["name"] for one in workload.body["spec"].get("volumeClaimTemplates", ())}
        for container in workload.containers():
            for mount in container.body.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{container.where} mounts {mount['name']}, which is not there"


def _secret(manifests: Manifests, name: str, key: str, value: str) -> None:
    manifests.named("Secret", name)["data"][key] = base64.b64encode(value.encode()).decode()


POLICIES: Final = (
    Policy(
        says="the development's Redis has the users that `chatctl acl` prints",
        faults=_redis_accounts,
        mistakes=(
            lambda m: _secret(m, "chat-redis", "gateway", "another"),
            lambda m: _secret(m, "redis-users", "users.acl", "user default on nopass ~* &* +@all\n"),
            lambda m: m.named("ConfigMap", "chat")["data"].update(CHAT_KEY_PREFIX="another"),
        ),
        tried_on="dev",
    ),
    Policy(
        says="the development's MySQL has the accounts that `chatctl grants` prints",
        faults=_mysql_accounts,
        mistakes=(
            lambda m: _secret(m, "chat-mysql", "migrator", "another"),
            lambda m: _secret(m, "mysql-users", "users.sql", "GRANT ALL ON *.* TO 'chat_application'@'%';\n"),
            lambda m: m.named("ConfigMap", "chat-mysql")["data"].update(CHAT_MYSQL_DATABASE="another"),
        ),
        tried_on="dev",
    ),
    Policy(
        says="nothing goes to a store elsewhere in the clear",
        faults=_encrypted,
        mistakes=(
            lambda m: m.named("ConfigMap", "chat-mysql")["data"].pop("CHAT_MYSQL_TLS_CA"),
            lambda m: m.named("ConfigMap", "chat")["data"].update(
                CHAT_REDIS_URL="redis://redis.example.com:6379/0", CHAT_REDIS_TLS_CA=""
            ),
            lambda m: m.workload("presence").main.body.pop("volumeMounts"),
        ),
    ),
    Policy(
        says="what is mounted is there",
        faults=_mounted,
        mistakes=(
            lambda m: m.workload("gateway").pod.pop("volumes"),
            lambda m: m.workload("mysqld-exporter").main.body["volumeMounts"][0].update(name="another"),
        ),
    ),
)
