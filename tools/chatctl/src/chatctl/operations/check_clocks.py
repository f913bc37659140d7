"""Owns what is to be right about the clocks: those by which something is decided are near each other.

Redis's is what all are compared with: deadlines and presence are its own. Each gateway tells with its sign of life how
far its own is off. Workers and presence decide nothing by theirs.
"""

import time
from collections.abc import Mapping
from math import inf
from typing import Any, Final

from chatcore.redis_client import answered
from delivery_worker.store.batches import NOW
from gateway.session import LEEWAY_S
from redis.asyncio import Redis

from chatctl.deployment import Deployment
from chatctl.operations.checks import Finding, fault, ok, warning
from chatctl.operations.clock import now_ms
from chatctl.operations.leaving import gateways

WARNING_S: Final = 2.0
MYSQL_FAULT_S: Final = 30.0
"""Messages have MySQL's time, and its stamps, by which syncs look back 60 s, are compared with no other clock."""
GATEWAY_FAULT_S: Final = LEEWAY_S
"""Past it a gateway refuses tokens that are good, new ones where it is slow, or takes expired ones."""
HERE: Final = "this machine"


async def check_clocks(deployment: Deployment) -> list[Finding]:
    """Compare the clocks of this machine, of MySQL and of every gateway with Redis's. Raises `StoreUnavailable`."""
    async with deployment.session() as session, deployment.redis() as redis:
        await session.run("DO 0")  # connecting is not to be part of the comparison
        before = time.time()
        in_redis = await now_ms(redis) / 1000
        in_mysql = int((await session.run(NOW))[0][0][0]) / 1000
        here = (before + time.time()) / 2
        off = {HERE: here - in_redis, "mysql": in_mysql - in_redis, **await _of_gateways(redis, deployment)}
    return [judge(off)]


async def _of_gateways(redis: Redis, deployment: Deployment) -> dict[str, float]:
    """Read what each gateway told, in seconds ahead of Redis. One that left meanwhile told nothing."""
    names = await gateways(redis, deployment.keys)
    told: Any = await answered(redis.mget(map(deployment.keys.gateway, names))) if names else ()
    return {name: int(value) / 1000 for name, value in zip(names, told, strict=True) if value is not None}


def judge(off_s: Mapping[str, float]) -> Finding:
    """Judge how far each clock is ahead of Redis's."""
    away = {name: seconds for name, seconds in off_s.items() if abs(seconds) > WARNING_S}
    if not away:
        return ok("clocks", f"{_told(off_s)} from Redis's")
    detail = f"{_told(away)} from Redis's"
    if len(away) == len(off_s) and max(away.values()) - min(away.values()) < WARNING_S:
        detail += ", so it is Redis's own that is off"
    if any(abs(seconds) > _most_s(name) for name, seconds in away.items()):
        return fault("clocks", f"{detail}: tokens expire, or messages are dated, at the wrong time; run NTP everywhere")
    return warning("clocks", f"{detail}: run NTP everywhere")


def _most_s(name: str) -> float:
    """Give how far a clock may be off before it is a fault. By this machine's nothing is decided."""
    return {HERE: inf, "mysql": MYSQL_FAULT_S}.get(name, GATEWAY_FAULT_S)


def _told(off_s: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {round(seconds, 1) + 0.0:+.1f} s" for name, seconds in off_s.items())  # no -0.0
