"""Owns the client of the twin: redis-py's own, of which only the way to the server is replaced.

Commands are made, answers are parsed and errors are classed by redis-py; a connection carries one request at a time
and is dropped after any failure, as redis-py does it without retries.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from redis._parsers.base import BaseParser
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, ResponseError

from chatctl.simulate.channel import Channel
from chatctl.simulate.twin_redis.server import FULL, Request

Dial = Callable[[], Awaitable[Channel]]
"""Connects to the server. Raises OSError."""
WORDS: Final = 1_024
"""Words of commands that are remembered: names, keys."""
OPTIONS: Final[dict[str, Any]] = {"protocol": 2, "decode_responses": False, "driver_info": None}


class Line:
    """The connections of one client."""

    def __init__(self, dial: Dial, connections: int) -> None:
        self._dial = dial
        self._most = connections
        self._idle: list[Channel] = []
        self._used = 0

    async def call(self, commands: Sequence[Sequence[Any]], *, transaction: bool = False) -> list[Any]:
        """Send commands in one packet; gives their replies. Raises redis-py's `ConnectionError`."""
        channel = await self.take()
        try:
            channel.send(Request([encoded(command) for command in commands], transaction))
            replies: list[Any] = await channel.receive()
        except OSError as error:
            channel.close()
            raise RedisConnectionError(f"Error while reading from the twin: {error}") from error
        except BaseException:
            channel.close()
            raise
        finally:
            self.give_back(channel)
        return replies

    async def take(self) -> Channel:
        """Give a connection that is whole."""
        if self._used >= self._most:
            raise MaxConnectionsError("Too many connections")
        self._used += 1
        try:
            while self._idle:
                channel = self._idle.pop()
                if not channel.broken:
                    return channel
            return await self._dial()
        except OSError as error:
            self._used -= 1
            raise RedisConnectionError(f"Error connecting to the twin: {error}") from error
        except BaseException:
            self._used -= 1
            raise

    def give_back(self, channel: Channel) -> None:
        """Take a connection back."""
        self._used -= 1
        if not channel.broken:
            self._idle.append(channel)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()


def encoded(command: Sequence[Any]) -> list[bytes]:
    """Encode a command's parts as redis-py does; a name of two words is two parts."""
    parts = [_part(part) for part in command]
    return [*parts[0].split(), *parts[1:]] if b" " in parts[0] else parts


def _part(value: Any) -> bytes:
    kind = type(value)
    if kind is bytes:
        part: bytes = value
        return part
    if kind is str:
        return _encoded(value)
    return repr(value).encode() if kind is float else b"%d" % value


@lru_cache(maxsize=WORDS)
def _encoded(word: str) -> bytes:
    return word.encode()


def classed(reply: Any) -> Any:
    """Give an error the class that redis-py's parser would."""
    return BaseParser.parse_error(str(reply)) if isinstance(reply, ResponseError) else reply  # type: ignore[no-untyped-call]  # redis-py's own gap


class TwinClient(Redis):
    """redis-py's client, connected to a twin."""

    def __init__(self, dial: Dial, *, connections: int) -> None:
        super().__init__(host="twin", **OPTIONS)
        self.line = Line(dial, connections)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command."""
        [reply] = await self.line.call([args])
        return parsed(self.response_callbacks, args[0], reply, options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "TwinPipeline":  # noqa: FBT001, FBT002 - redis-py's own
        """Make a pipeline."""
        return TwinPipeline(self, self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def pubsub(self, **_: Any) -> Any:
        """Make a subscription."""
        return TwinPubSub(self.line)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - redis-py's own
        """Close the connections."""
        self.line.close()


def parsed(callbacks: Any, name: Any, reply: Any, options: dict[str, Any]) -> Any:
    """Give an answer as redis-py does. Raises `ResponseError`."""
    reply = classed(reply)
    if isinstance(reply, Exception):
        raise reply
    options.pop("keys", None)
    return callbacks[name](reply, **options) if name in callbacks else reply


class TwinPipeline(Pipeline):
    """redis-py's pipeline, whose packet goes to a twin."""

    def __init__(self, client: TwinClient, *args: Any) -> None:
        super().__init__(*args)
        self._line = client.line

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's own
        """Send all at once. Raises `ResponseError` for the first that failed."""
        stack, self.command_stack = self.command_stack, []
        if not stack:
            return []
        replies = await self._line.call([args for args, _ in stack], transaction=self.is_transaction)
        if self.is_transaction and str(replies[0]) == FULL:
            raise classed(replies[0])
        answers = [self._answer(args, options, reply) for (args, options), reply in zip(stack, replies, strict=True)]
        if raise_on_error:
            self.raise_first_error(stack, answers)
        return answers

    def _answer(self, args: Any, options: Any, reply: Any) -> Any:
        try:
            return parsed(self.response_callbacks, args[0], reply, options)
        except ResponseError as error:
            return error


class TwinPubSub:
    """A subscription: a connection of its own, whose failure ends it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._channel: Channel | None = None

    async def subscribe(self, channel: str) -> None:
        """Ask for a channel; its confirmation is the first answer."""
        if self._channel is None:
            self._channel = await self._line.take()
        try:
            self._channel.send(Request([[b"SUBSCRIBE", channel.encode()]]))
        except OSError as error:
            raise RedisConnectionError(str(error)) from error

    async def parse_response(self, block: bool = True, timeout: float = 0) -> Any:  # noqa: ASYNC109, FBT001, FBT002 - redis-py's own
        """Wait for the next confirmation or publication."""
        if self._channel is None:
            raise RuntimeError("pubsub connection not set: did you forget to call subscribe() or psubscribe()?")
        try:
            return await self._channel.receive()
        except OSError as error:
            raise RedisConnectionError(f"Error while reading from the twin: {error}") from error

    async def aclose(self) -> None:
        """End it."""
        if self._channel is not None:
            self._channel.close()
            self._line.give_back(self._channel)
            self._channel = None
