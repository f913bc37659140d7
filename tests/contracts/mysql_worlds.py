"""The worlds in which each promise about MySQL is tried: a real server, and the twin of one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, Protocol

from chatctl.faults.mysql_requests import commits
from chatctl.faults.proxy import Proxy
from chatctl.faults.toxics import Direction, LimitData, LoseAnswer
from chatctl.simulate.channel import Channel, Straight
from chatctl.simulate.twin_mysql.server import TwinMySQL
from chatctl.simulate.twin_mysql.wire import open_with
from delivery_worker.schema import migrate
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.session import BATCH_IDLE_S, Session

from tests.harness.system import free_port

PARTITIONS: Final = 4
Lost = Literal["request", "answer"]
"""What a connection loses, and breaks at it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A session whose connection can be broken at its next exchange."""

    session: Session
    losing: Callable[[Lost], AbstractContextManager[None]]
    """Loses that of what is exchanged in a block; of answers those to a COMMIT."""


class MySQLWorld(Protocol):
    """A migrated server, as the worker sees it."""

    def session(self, *, idle_s: int = BATCH_IDLE_S) -> Session:
        """Make a session."""

    def line(self) -> AbstractAsyncContextManager[Line]:
        """Make a session on a road of its own."""

    async def kill_sessions(self) -> None:
        """End every session."""

    def close(self) -> None:
        """Close the sessions."""


class RealMySQL:
    """A database of its own on the private server of the tests."""

    def __init__(self, settings: MySQLSettings) -> None:
        self._settings = settings.model_copy(update={"partitions": PARTITIONS})
        self._sessions: list[Session] = []

    async def migrate(self) -> None:
        await asyncio.to_thread(migrate, self._settings)

    def session(self, *, idle_s: int = BATCH_IDLE_S) -> Session:
        one = Session(self._settings, idle_s=idle_s)
        self._sessions.append(one)
        return one

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        server = self._settings.mysql_host, self._settings.mysql_port
        proxy = Proxy("mysql", port=free_port(), upstream=lambda: server, random=Random(1))
        toxics = {
            "request": LimitData(direction=Direction.UP, limit_bytes=0),
            "answer": LoseAnswer(direction=Direction.UP, listener=commits),
        }
        settings = self._settings.model_copy(update={"mysql_host": "127.0.0.1", "mysql_port": proxy.port})
        async with proxy:
            session = Session(settings)
            try:
                yield Line(session, lambda lost: proxy.afflicted(toxics[lost]))
            finally:
                session.close()

    async def kill_sessions(self) -> None:
        control = self.session()
        name = self._settings.mysql_database
        found = await control.run(
            f"SELECT id FROM information_schema.processlist WHERE db = '{name}' AND id <> CONNECTION_ID()"
        )
        await control.run("; ".join(f"KILL {row[0]}" for row in found[0]))

    def close(self) -> None:
        for session in self._sessions:
            session.close()


class BreakingRoad(Straight):
    """Without delay, and cut at what is to be lost."""

    lost: Lost | None = None

    def delay_s(self, channel: Channel, *, answer: bool) -> float:
        """Cut where that is to be lost."""
        if self.lost == ("answer" if answer else "request"):
            channel.cut()
        return 0.0

    @contextmanager
    def losing(self, lost: Lost) -> Iterator[None]:
        """Lose that for the length of a block."""
        self.lost = lost
        try:
            yield
        finally:
            self.lost = None


class TwinWorld:
    """A twin on straight roads, by the loop's own clock."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = TwinMySQL(lambda: 1_700_000_000_000 + int(loop.time() * 1000))
        self.server.migrate(partitions=PARTITIONS, epoch="e1")
        self._settings = MySQLSettings(mysql_user="twin", mysql_password="twin")
        self._sessions: list[Session] = []

    def session(self, *, idle_s: int = BATCH_IDLE_S) -> Session:
        one = Session(self._settings, idle_s=idle_s, open_with=open_with(self._dial))
        self._sessions.append(one)
        return one

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        road = BreakingRoad()

        async def dial() -> Channel:
            return Channel(self.server, road)

        session = Session(self._settings, open_with=open_with(dial))
        try:
            yield Line(session, road.losing)
        finally:
            session.close()

    async def _dial(self) -> Channel:
        return Channel(self.server, Straight())

    async def kill_sessions(self) -> None:
        self.server.kill_sessions()

    def close(self) -> None:
        for session in self._sessions:
            session.close()


async def until_waiting(task: "asyncio.Task[Any]") -> None:
    """Let a statement reach the server; nothing shows from outside that it waits there."""
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert not task.done()
