"""Owns the worker's wire to the twin of MySQL."""

from collections.abc import Awaitable, Callable

from delivery_worker.settings import MySQLSettings
from delivery_worker.store.wire import Open, Rows
from pymysql.constants import CR
from pymysql.err import MySQLError, OperationalError

from chatctl.simulate.channel import Channel

Dial = Callable[[], Awaitable[Channel]]
"""Connects to the server. Raises OSError."""


class TwinWire:
    """`Wire` on a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def ended(self) -> bool:
        """Whether the channel was cut."""
        return self._channel.broken

    async def exchange(self, sql: str) -> list[Rows]:
        """Send a packet, and wait for its answer. Raises `MySQLError` as the driver does."""
        try:
            self._channel.send(sql)
            answer: MySQLError | list[Rows] = await self._channel.receive()
        except OSError as error:
            raise OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query") from error
        if isinstance(answer, MySQLError):
            raise answer
        return answer

    def close(self) -> None:
        """Cut it."""
        self._channel.close()


def open_with(dial: Dial) -> Open:
    """Give what opens wires over `dial`."""

    async def open_twin(settings: MySQLSettings, idle_s: int) -> TwinWire:
        del settings  # there is one server
        try:
            channel = await dial()
        except OSError as error:
            raise OperationalError(CR.CR_CONN_HOST_ERROR, f"Can't connect to MySQL server: {error}") from error
        channel.send(float(idle_s))
        return TwinWire(channel)

    return open_twin
