"""A session tells how much of the time it is in use: before anything waits for it, that is what there is to see."""

import asyncio
from typing import Any

import pytest
from chatcore.errors import SessionLost, StoreUnavailable
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import Session

TAKES_S = 0.02
SETTINGS = MySQLSettings.model_validate({"mysql_user": "chat", "mysql_password": "secret"})


class SlowWire:
    """A connection whose every answer takes a while; the second one never comes."""

    def __init__(self) -> None:
        self.asked = 0
        self.ended = False

    async def exchange(self, sql: str) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(TAKES_S)
        if self.asked > 1:
            raise OSError("gone")
        return []

    def close(self) -> None:
        """There is nothing to close."""


async def open_slowly(_: MySQLSettings, idle_s: int) -> SlowWire:
    await asyncio.sleep(TAKES_S)
    return SlowWire()


async def test_a_session_is_in_use_while_it_connects_and_waits_for_answers_and_failures() -> None:
    session = Session(SETTINGS, open_with=open_slowly)
    assert session.busy_s == 0
    await session.run("SELECT 1")
    assert session.busy_s >= 2 * TAKES_S * 0.9  # two clocks
    busy_s = session.busy_s
    with pytest.raises(StoreUnavailable):
        await session.run("SELECT 1")
    assert session.busy_s >= busy_s + TAKES_S * 0.9


async def test_a_connection_whose_end_was_heard_is_replaced_before_it_is_used() -> None:
    wires = [SlowWire(), SlowWire()]
    made = iter(wires)

    async def open_next(_: MySQLSettings, idle_s: int) -> SlowWire:
        return next(made)

    session = Session(SETTINGS, open_with=open_next)
    await session.run("SELECT 1")
    wires[0].ended = True
    await session.run("SELECT 1")
    assert [wire.asked for wire in wires] == [1, 1]


async def test_an_end_that_was_not_heard_is_told_from_a_mysql_that_cannot_be_reached() -> None:
    session = Session(SETTINGS, open_with=open_slowly)
    await session.run("SELECT 1")
    with pytest.raises(SessionLost):
        await session.run("SELECT 1")

    async def open_nothing(_: MySQLSettings, idle_s: int) -> SlowWire:
        raise OSError("refused")

    with pytest.raises(StoreUnavailable) as refused:
        await Session(SETTINGS, open_with=open_nothing).run("SELECT 1")
    assert not isinstance(refused.value, SessionLost)


async def test_a_session_that_nobody_asks_is_not_in_use() -> None:
    session = Session(SETTINGS, open_with=open_slowly)
    await session.run("SELECT 1")
    busy_s = session.busy_s
    await asyncio.sleep(TAKES_S)
    assert session.busy_s == busy_s
