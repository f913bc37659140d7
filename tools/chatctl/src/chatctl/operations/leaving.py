"""Owns how a gateway is asked to leave by hand, and how its going is seen."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from chatcore.keys import Keys
from chatcore.push import Kind, record
from chatcore.redis_client import answered
from redis.asyncio import Redis

from chatctl.deployment import Deployment
from chatctl.failure import Failure

AGAIN_S: Final = 1.0
"""Seconds between two askings: a word on a channel may be lost, and one who leaves takes no harm from another."""
SCANNED: Final = 1_000
"""Keys looked at in one step of the search for gateways."""


@dataclass(frozen=True, slots=True)
class Left:
    """A gateway that was asked to leave, and left."""

    gateway: str
    took_s: float


async def drain(deployment: Deployment, name: str, *, within_s: float) -> Left:
    """Ask a gateway to leave, and wait until it has. Raises `Failure`, `StoreUnavailable`."""
    async with deployment.redis() as redis:
        gateway = _one_of(await gateways(redis, deployment.keys), name)
        began = monotonic()
        while await answered(redis.exists(deployment.keys.gateway(gateway))):
            if monotonic() - began > within_s:
                raise Failure(
                    f"{gateway} is still there after {within_s:.0f} s",
                    advice="it ends within its CHAT_SHUTDOWN_S: wait longer with --within, and look at its log",
                )
            await answered(redis.publish(deployment.keys.channel(gateway), record(Kind.LEAVE, 0, b"")))
            await asyncio.sleep(AGAIN_S)
        return Left(gateway, round(monotonic() - began, 1))


async def gateways(redis: Redis, keys: Keys) -> list[str]:
    """Name the gateways that live. Raises `StoreUnavailable`."""
    prefix, cursor, found = keys.gateway(""), 0, set[str]()
    while True:
        step: Any = await answered(redis.scan(cursor, match=f"{prefix}*", count=SCANNED))
        cursor, names = step
        found |= {name.decode().removeprefix(prefix) for name in names}
        if not cursor:
            return sorted(found)


def _one_of(alive: Sequence[str], name: str) -> str:
    """Find the one that is meant: by its whole id, or by its name, where only one that lives has it."""
    meant = [gateway for gateway in alive if gateway == name or gateway.rpartition(".")[0] == name]
    if len(meant) == 1:
        return meant[0]
    here = ", ".join(meant or alive) or "none"
    if meant:
        raise Failure(f"{len(meant)} gateways are called {name}: {here}", advice="give the whole id of one of them")
    raise Failure(f"no gateway is called {name}; those that live: {here}", advice="give one of these, or its name")
