"""Owns what is known of a user's devices, and how their connections are ended."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatcore.errors import Close
from chatcore.keys import Member
from chatcore.push import Kind, close_payload
from chatcore.redis_client import answered, connect_to
from delivery_worker.router import Publications, RedisRouter, members_of
from delivery_worker.store.devices import WHOLE_USER
from delivery_worker.store.values import text

from chatctl.deployment import Deployment
from chatctl.failure import Failure
from chatctl.operations.clock import now_ms

GONE_S = 10.0
"""Seconds for the open connections to end: a word to a gateway may be lost, so it is said again."""
AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device of a user: a row in MySQL, a connection in Redis, or both."""

    device: str
    """Empty: the user as a whole, which is revoked."""
    gateway: str | None
    """None: not connected."""
    connection: int | None
    online: bool
    """Its deadline is not past."""
    first_seen_ms: int | None
    last_seen_ms: int | None
    revoked: bool


async def devices(deployment: Deployment, user: str) -> list[KnownDevice]:
    """Look a user's devices up. Raises `StoreUnavailable`."""
    async with deployment.redis() as redis:
        now = await now_ms(redis)
        found: Any = await answered(redis.zrange(deployment.keys.devices(user), 0, -1, withscores=True))
    async with deployment.session() as session:
        sql = f"SELECT device_id, first_seen, last_seen, revoked_at FROM device WHERE user_id = {text(user)}"  # noqa: S608 - quoted
        rows = {str(row[0]): row for row in (await session.run(sql))[0]}
    connected = [(member, score) for raw, score in found for member in members_of([raw])]
    known = [_connected(member, rows.get(member.device), late=score < now) for member, score in connected]
    away = rows.keys() - {member.device for member, _ in connected}
    known += [_away(rows[device]) for device in sorted(away) if device != WHOLE_USER or rows[device][3] is not None]
    return known


def _connected(member: Member, row: Any, *, late: bool) -> KnownDevice:
    first, last, revoked = (row[1], row[2], row[3] is not None) if row else (None, None, False)
    return KnownDevice(member.device, member.gateway, member.connection, not late, first, last, revoked)


def _away(row: Any) -> KnownDevice:
    revoked = row[3] is not None
    return KnownDevice(
        str(row[0]), None, None, online=False, first_seen_ms=row[1], last_seen_ms=row[2], revoked=revoked
    )


async def close_connections(
    deployment: Deployment, user: str, device: str | None, code: Close, reason: str, *, also_new: bool
) -> int:
    """Close the connections of a user, or of one device, and wait until they are gone; gives their number.

    `also_new`: those that open meanwhile too, since nothing lets them in any more. Raises `Failure` when some stay,
    `StoreUnavailable`.
    """
    router = RedisRouter(connect_to(deployment.redis_url), keys=deployment.keys, worker="chatctl", dead_letters=1)
    closed: set[Member] = set()
    try:
        first = _of(device, (await router.routes([user])).get(user, ()))
        async with asyncio.timeout(GONE_S):
            members = first
            while members:
                closed.update(members)
                await router.tell(_closes(members, code, reason))
                await asyncio.sleep(AGAIN_S)
                now = _of(device, (await router.routes([user])).get(user, ()))
                members = now if also_new else [member for member in now if member in first]
    except TimeoutError:
        raise Failure(
            f"connections of {user} are still entered after {GONE_S:.0f} s",
            advice="a gateway that died leaves its own for 35 s; run it again then",
        ) from None
    finally:
        await router.close()
    return len(closed)


def _closes(members: Sequence[Member], code: Close, reason: str) -> Publications:
    publications = Publications()
    for member in members:
        publications.add(member.gateway, Kind.CLOSE, member.connection, close_payload(code, reason))
    return publications


def _of(device: str | None, members: Sequence[Member]) -> list[Member]:
    return [member for member in members if device is None or member.device == device]
