"""Owns the step after a restore of MySQL: what the stores disagree about from then on, and who has to know."""

import asyncio
from typing import Any

from chatcore.keys import epoch_of
from delivery_worker import schema
from redis.exceptions import ResponseError

from chatctl.deployment import Deployment
from chatctl.failure import Failure
from chatctl.operations.backlog import owners, partition_count


async def renew_epoch(deployment: Deployment) -> str:
    """Give the database a new epoch, and let the owners' epochs go on above all that Redis still knows.

    A restored MySQL counts owners from where the backup was taken; groups of later epochs may stand in Redis, and an
    owner of an older one would not destroy them. Raises `Failure` while a worker lives, `StoreUnavailable`.
    """
    live = [owner.worker for owner in await owners(deployment) if owner.alive]
    if live:
        raise Failure(f"workers are running: {', '.join(live)}", advice="stop them all, then run it again")
    return await asyncio.to_thread(schema.renew_epoch, deployment.mysql, above=await _highest_group(deployment))


async def _highest_group(deployment: Deployment) -> int:
    highest = 0
    async with deployment.redis() as redis:
        for partition in range(await partition_count(deployment)):
            try:
                groups: Any = await redis.xinfo_groups(deployment.keys.inbox(partition))
            except ResponseError:  # no such stream
                continue
            highest = max([highest, *(epoch_of(group["name"]) for group in groups)])
    return highest
