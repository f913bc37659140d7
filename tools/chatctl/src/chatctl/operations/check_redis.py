"""Owns what is to be right about Redis: it may lose everything, but it must not lose some things in silence."""

from typing import Any, Final

from chatcore.redis_client import answered
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chatctl.deployment import Deployment
from chatctl.operations.check_acl import check_acl
from chatctl.operations.checks import Finding, fault, ok, warning

OLDEST: Final = (7, 0)
FULL: Final = 0.8
"""Of maxmemory: past it the streams' bound comes near."""


async def check_redis(deployment: Deployment) -> list[Finding]:
    """Look at the server's version, memory, persistence and users. Raises `StoreUnavailable`."""
    async with deployment.redis() as redis:
        info: dict[str, Any] = await answered(redis.info("everything"))
        found = [_version(info), _eviction(info), _memory(info), _persistence(info), _encrypted(deployment)]
        found.append(await _user(redis, deployment))
        found += await check_acl(redis, deployment.keys, local=_is_local(deployment))
    return found


def _version(info: dict[str, Any]) -> Finding:
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return fault("redis version", f"{version}; 7.0 or later is needed")
    return ok("redis version", version)


def _eviction(info: dict[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy")
    if policy == "noeviction":
        return ok("maxmemory-policy", "noeviction")
    return fault("maxmemory-policy", f"is {policy}: a full Redis throws keys away, routes and streams among them")


def _memory(info: dict[str, Any]) -> Finding:
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if limit == 0:
        return warning("maxmemory", "has no limit: a backlog grows until the machine ends Redis")
    if used > limit * FULL:
        return warning("maxmemory", f"{used * 100 // limit} % are used: soon sends are refused as `overloaded`")
    return ok("maxmemory", f"{used * 100 // limit} % of {limit // 1024 // 1024} MiB are used")


def _persistence(info: dict[str, Any]) -> Finding:
    if int(info.get("aof_enabled", 0)):
        return ok("appendonly", "on")
    return warning(
        "appendonly", "is off: a restart empties Redis; nothing acknowledged is lost, but clients send again and sync"
    )


def _encrypted(deployment: Deployment) -> Finding:
    if deployment.redis_url.startswith("rediss://"):
        return ok("redis tls", "on")
    if _is_local(deployment):
        return ok("redis tls", "in the clear, on this machine")
    return warning("redis tls", "in the clear: use a `rediss://` URL")


def _is_local(deployment: Deployment) -> bool:
    hosts = ("127.0.0.1", "localhost", "[::1]")
    return any(f"{mark}{host}" in deployment.redis_url for mark in ("//", "@") for host in hosts)


async def _user(redis: Redis, deployment: Deployment) -> Finding:
    user = (await answered(redis.execute_command("ACL", "WHOAMI"))).decode()  # type: ignore[no-untyped-call]  # redis-py's own gap
    try:
        default: Any = await redis.acl_getuser("default")
    except RedisError:
        return ok("redis user", f"{user}, which may not look at the others")
    if b"nopass" in default.get("flags", ()) or "nopass" in default.get("flags", ()):
        if _encrypted(deployment).detail.endswith("on this machine"):
            return ok("redis user", f"{user}; anybody on this machine may do everything")
        return warning("redis user", "the default user needs no password: give each service its own user")
    return ok("redis user", user)
