"""Owns the rows of devices: their first connection, their number, their revocation.

A row with an empty device id stands for the user as a whole: it is locked before the user's devices are counted, and
it carries a revocation of all of them.
"""

from dataclasses import dataclass
from typing import Final

from chatcore.errors import Refusal, StoreUnavailable
from pymysql.err import MySQLError

from delivery_worker.store.batches import NOW
from delivery_worker.store.session import Session
from delivery_worker.store.values import text
from delivery_worker.store.wire import Rows

MAX_DEVICES: Final = 20
"""Of a user, seen within `FORGET_MS`."""
FORGET_MS: Final = 90 * 24 * 3600 * 1000
"""A device not seen for 90 days is forgotten, and new when it returns."""
SEEN_MS: Final = 3600 * 1000
"""How old `last_seen` may become before a connection writes it again: 1 in 2,000 of the 90 days."""
WHOLE_USER: Final = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a device that connects."""

    refusal: Refusal | None


class DeviceStore:
    """Registers devices, on one MySQL session. Raises `StoreUnavailable`; then nothing may be said of the device."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def register(self, user: str, device: str) -> Registration:
        """Make a device known, in one transaction that locks the user's row first.

        A new one gets a cursor at the user's delivered watermark in every conversation that exists now: it is owed
        what no device of the user holds yet. A conversation that begins later has no row, so its cursor is 0.
        """
        try:
            return await self._register(user, device)
        except MySQLError as error:
            await self._session.rollback()
            raise StoreUnavailable(f"MySQL: {error}") from error

    async def _register(self, user: str, device: str) -> Registration:
        results = await self._session.run(
            f"BEGIN; INSERT INTO device (user_id, device_id, first_seen, last_seen) VALUES ({text(user)}, '', 0, 0)"  # noqa: S608 - quoted
            f" ON DUPLICATE KEY UPDATE last_seen = last_seen; {NOW};"
            f" SELECT device_id, last_seen, revoked_at FROM device WHERE user_id = {text(user)} FOR UPDATE"
        )
        now = int(results[2][0][0])
        refusal, known = _judge(results[3], device, now)
        if refusal is not None:
            await self._session.rollback()
            return Registration(refusal)
        await self._session.go_on(
            "; ".join([*_touch(user, device, now), *([] if known else _begin(user, device)), "COMMIT"])
        )
        return Registration(None)

    async def revoke(self, user: str, device: str | None, *, undo: bool = False) -> None:
        """Revoke a device, or the whole user; or take that back. Raises `StoreUnavailable`."""
        value = "NULL" if undo else f"({NOW})"
        try:
            await self._session.run(
                "INSERT INTO device (user_id, device_id, first_seen, last_seen, revoked_at) VALUES"  # noqa: S608 - quoted
                f" ({text(user)}, {text(device or WHOLE_USER)}, 0, 0, {value})"
                " ON DUPLICATE KEY UPDATE revoked_at = VALUES(revoked_at)"
            )
        except MySQLError as error:
            raise StoreUnavailable(f"MySQL: {error}") from error


def _judge(rows: Rows, device: str, now: int) -> tuple[Refusal | None, bool]:
    """Say whether a device is refused, and whether it is known."""
    by_device = {row[0]: row for row in rows}
    if any(by_device[name][2] is not None for name in (WHOLE_USER, device) if name in by_device):
        return Refusal.REVOKED, False
    recent = {name for name, row in by_device.items() if name != WHOLE_USER and row[1] > now - FORGET_MS}
    if device in recent:
        return None, True
    return (Refusal.TOO_MANY_DEVICES if len(recent) >= MAX_DEVICES else None), False


def _touch(user: str, device: str, now: int) -> list[str]:
    return [
        "INSERT INTO device (user_id, device_id, first_seen, last_seen)"  # noqa: S608 - quoted
        f" VALUES ({text(user)}, {text(device)}, {now:d}, {now:d}) ON DUPLICATE KEY UPDATE"
        f" first_seen = IF(last_seen <= {now - FORGET_MS:d}, VALUES(first_seen), first_seen),"
        " last_seen = VALUES(last_seen)"
    ]


def _begin(user: str, device: str) -> list[str]:
    return [
        f"DELETE FROM device_cursor WHERE user_id = {text(user)} AND device_id = {text(device)}",  # noqa: S608 - quoted
        "INSERT INTO device_cursor (user_id, device_id, conversation_id, seq)"  # noqa: S608 - quoted
        f" SELECT user_id, {text(device)}, conversation_id, delivered_seq FROM member WHERE user_id = {text(user)}",
    ]
