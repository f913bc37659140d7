"""Owns what is to be right about the services: who is there, whether all is owned, whether anything waits."""

from typing import Any, Final

from chatcore.redis_client import answered

from chatctl.deployment import Deployment
from chatctl.operations.backlog import backlog, owners, partitions
from chatctl.operations.checks import Finding, fault, ok, warning

OLD_S: Final = 10.0
"""An entry that waits for longer is late: a takeover takes less."""


async def check_workers(deployment: Deployment) -> list[Finding]:
    """Look at who works, and whether every partition is owned and read. Raises `StoreUnavailable`."""
    found = await _published(deployment)
    live = {owner.worker for owner in await owners(deployment) if owner.alive}
    if not live:
        return [*found, fault("workers", "none is alive: nothing is stored, nothing acknowledged")]
    one = warning("workers", "one alone: a takeover has to wait for its restart")
    found.append(ok("workers", f"{len(live)} alive") if len(live) > 1 else one)
    rows = await partitions(deployment)
    orphans = [row.partition for row in rows if row.owner not in live]
    unread = [row.partition for row in rows if row.owner in live and row.group_epoch != row.epoch]
    if orphans or unread:
        detail = f"{len(orphans)} without a living owner, {len(unread)} not read: a takeover lasts 9 s at most"
        return [*found, fault("ownership", detail)]
    return [*found, ok("ownership", f"all {len(rows)} partitions are owned and read")]


async def _published(deployment: Deployment) -> list[Finding]:
    """Compare what workers published for gateways with what stands in MySQL (R1e)."""
    async with deployment.session() as session:
        meta = {str(name): str(value) for name, value in (await session.run("SELECT name, value FROM meta"))[0]}
    async with deployment.redis() as redis:
        raw: Any = await answered(redis.hgetall(deployment.keys.meta))
    published = {name.decode(): value.decode() for name, value in raw.items()}
    if not published:
        return [fault("chat:meta", "is empty: no worker was here since Redis began, so no gateway is ready")]
    if any(published.get(name) != meta.get(name) for name in ("partitions", "epoch")):
        return [fault("chat:meta", "is not what stands in MySQL: restart the workers, one at a time")]
    return [ok("chat:meta", "as in MySQL")]


async def check_gateways(deployment: Deployment) -> list[Finding]:
    """Count the gateways that live, and see whether anything waits or died. Raises `StoreUnavailable`."""
    async with deployment.redis() as redis:
        pattern = deployment.keys.gateway("*")
        names = [key async for key in redis.scan_iter(match=pattern, count=1_000)]
        dead = await answered(redis.xlen(deployment.keys.dead))
    gateways = ok("gateways", f"{len(names)} alive") if names else fault("gateways", "none is alive")
    late = [one for one in await backlog(deployment) if (one.oldest_s or 0) > OLD_S]
    waiting = [warning(one.stream, f"{one.entries} entries wait, the first for {one.oldest_s:.0f} s") for one in late]
    letters = warning("dead letters", f"{dead}: look with `chatctl dead list`") if dead else ok("dead letters", "none")
    return [gateways, *(waiting or [ok("backlog", "nothing waits")]), letters]
