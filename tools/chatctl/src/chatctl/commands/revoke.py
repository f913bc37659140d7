"""`revoke`: shuts a user or a device out, at the handshake and on the connections that are open."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from chatcore.errors import Close, StoreUnavailable
from chatcore.keys import Keys, Member
from chatcore.push import Kind, close_payload
from chatcore.redis_client import connect_to
from cyclopts import Parameter
from delivery_worker.router import Publications, RedisRouter
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.devices import DeviceStore
from delivery_worker.store.session import Session

from chatctl.failure import Failure
from chatctl.stack import stack_file
from chatctl.stack.stack_file import StackFile

GONE_S = 10.0
"""Seconds for the open connections to end: a word to a gateway may be lost, so it is said again."""
AGAIN_S = 0.5


def revoke(
    user: str,
    *,
    device: str | None = None,
    undo: Annotated[bool, Parameter(negative="")] = False,
    dir: Path = Path(".run"),  # noqa: A002 - the option's name is fixed
) -> None:
    """Revoke a user, or one device of theirs: refused at the handshake with 403, closed with 4403 where connected.

    Parameters
    ----------
    device: This device alone; the default is the whole user, devices to come included.
    undo: Take the revocation back.
    """
    stack = stack_file.read_running(dir.resolve())
    try:
        asyncio.run(_revoke(stack, user, device, undo=undo))
    except StoreUnavailable as error:
        raise Failure(f"a store did not answer: {error}", advice="look at `./dev logs`, and run it again") from error
    print(f"{user}{'/' + device if device else ''} is {'admitted again' if undo else 'revoked'}.")


async def _revoke(stack: StackFile, user: str, device: str | None, *, undo: bool) -> None:
    """Write the truth first: from then on no handshake passes. Then end what is open."""
    session = Session(_settings(stack))
    try:
        await DeviceStore(session).revoke(user, device, undo=undo)
    finally:
        session.close()
    if not undo:
        await _close_open(stack, user, device)


async def _close_open(stack: StackFile, user: str, device: str | None) -> None:
    url = f"redis://127.0.0.1:{stack.redis.port}/0"
    router = RedisRouter(connect_to(url), keys=Keys(), worker="chatctl", dead_letters=1)
    try:
        async with asyncio.timeout(GONE_S):
            while members := _of(device, (await router.routes([user])).get(user, ())):
                publications = Publications()
                for member in members:
                    payload = close_payload(Close.REVOKED, "revoked")
                    publications.add(member.gateway, Kind.CLOSE, member.connection, payload)
                await router.tell(publications)
                await asyncio.sleep(AGAIN_S)
    except TimeoutError:
        raise Failure(
            f"connections of {user} are still entered after {GONE_S:.0f} s",
            advice="a gateway that died leaves its own for 35 s; run it again then",
        ) from None
    finally:
        await router.close()


def _of(device: str | None, members: Sequence[Member]) -> list[Member]:
    return [member for member in members if device is None or member.device == device]


def _settings(stack: StackFile) -> MySQLSettings:
    address = stack.mysql
    values = {
        "mysql_host": address.host,
        "mysql_port": address.port,
        "mysql_user": address.user,
        "mysql_password": address.password,
        "mysql_database": address.database,
    }
    return MySQLSettings.model_validate(values)
