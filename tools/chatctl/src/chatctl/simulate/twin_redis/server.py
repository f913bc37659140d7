"""Owns the twin of a Redis server: sessions, transactions, blocked readers, Pub/Sub and scripts. Single-threaded.

A message of a client is a `Request`; each answer is the list of its commands' replies. It must never answer a request
before one that came earlier on the same connection.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from chatctl.simulate.twin_redis.commands import COMMANDS, GROWING, OK, Command, Reply
from chatctl.simulate.twin_redis.keyspace import Keyspace
from chatctl.simulate.twin_redis.scripts import GROWING_SCRIPTS, script_of
from chatctl.simulate.twin_redis.stream_commands import STREAM_COMMANDS, Reading
from chatctl.simulate.twin_redis.streams import Stream

TABLE: Final[dict[bytes, Command]] = {**COMMANDS, **STREAM_COMMANDS}
READINGS: Final = 256
"""Kinds of reads that are remembered: a worker repeats the same one until it owns something else."""
MAKING: Final = (b"CREATE", b"CREATECONSUMER")
"""What grows, of XGROUP."""
FULL: Final = "OOM command not allowed when used memory > 'maxmemory'."


class Request(NamedTuple):
    """What a client sends in one packet."""

    commands: list[list[bytes]]
    transaction: bool = False


class TwinRedis:
    """A server. `now_ms` is its clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.keys = Keyspace(now_ms)
        self.full = False
        """Out of memory, under `noeviction`."""
        self.up = True
        self.deleting: Callable[[bytes, list[bytes]], None] | None = None
        """Hears of entries before they are deleted: key, ids. For a judge."""
        self.sessions: dict[RedisSession, None] = {}
        self._loaded: dict[bytes, str] = {}
        self._blocked: dict[RedisSession, Reading] = {}
        self._channels: dict[bytes, dict[RedisSession, None]] = {}
        self._touched: dict[bytes, None] = {}

    def accept(self, tell: Callable[[Any], None], cut: Callable[[], None], client: str) -> "RedisSession":
        """Begin a session. Raises `ConnectionRefusedError` while it is down."""
        del client
        if not self.up:
            raise ConnectionRefusedError("Redis is down")
        session = RedisSession(self, tell, cut)
        self.sessions[session] = None
        return session

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Tell every subscriber; gives their number."""
        subscribers = self._channels.get(channel, {})
        for session in subscribers:
            session.tell([b"message", channel, payload])
        return len(subscribers)

    def call(self, command: list[bytes]) -> Reply:
        """Run a command of a script that a full server allows; an error is its reply."""
        return self._caught(lambda: self._do(None, command[0].upper(), command[1:]))

    def stop(self, *, lose: bool) -> None:
        """End, and with it every connection; `lose` everything, or keep it for the next start."""
        self.up = False
        self._loaded.clear()
        for session in list(self.sessions):
            session.cut()
        if lose:
            self.keys.clear()

    def start(self) -> None:
        """Serve again."""
        self.up = True

    def execute(self, session: "RedisSession", request: Request) -> list[Reply] | None:
        """Run a request; None: it waits, and its answer comes later."""
        reading = self._blocking(request)
        if reading is not None:
            reply = self._caught(lambda: reading.answer(self.keys))
            if reply is not None:
                return [reply]
            self._blocked[session] = reading
            return None
        replies = self._transaction(request) if request.transaction else self._run_all(session, request.commands)
        self._serve_blocked()
        return replies

    def give_up(self, session: "RedisSession") -> bool:
        """End a session's waiting; says whether it waited."""
        return self._blocked.pop(session, None) is not None

    def subscribe(self, session: "RedisSession", channel: bytes) -> list[Reply]:
        """Subscribe a session."""
        self._channels.setdefault(channel, {})[session] = None
        return [b"subscribe", channel, 1]

    def forget(self, session: "RedisSession") -> None:
        """The session is over."""
        self.sessions.pop(session, None)
        self.give_up(session)
        for subscribers in self._channels.values():
            subscribers.pop(session, None)

    def flush(self) -> None:
        """Lose everything."""
        for key in self.keys.clear():
            self._touched[key] = None
        self._serve_blocked()

    @staticmethod
    def _blocking(request: Request) -> Reading | None:
        [first, *others] = request.commands
        if others or request.transaction or first[0].upper() != b"XREADGROUP":
            return None
        reading = _reading(tuple(first))
        return reading if reading.block_ms is not None else None

    def _run_all(self, session: "RedisSession", commands: list[list[bytes]]) -> list[Reply]:
        return [self._caught(partial(self._run, session, command)) for command in commands]

    def _transaction(self, request: Request) -> list[Reply]:
        """Give the replies, or one error for all: a full server queues nothing, and so aborts every transaction."""
        if self.full:
            return [ResponseError(FULL)]
        return [self._caught(partial(self._run, None, command)) for command in request.commands]

    @staticmethod
    def _caught(work: Callable[[], Reply]) -> Reply:
        try:
            return work()
        except ResponseError as error:
            return error

    def _run(self, session: "RedisSession | None", command: list[bytes]) -> Reply:
        name = command[0].upper()
        if self.full and (name in GROWING or (name == b"XGROUP" and command[1].upper() in MAKING)):
            raise ResponseError(FULL)
        return self._do(session, name, command[1:])

    def _do(self, session: "RedisSession | None", name: bytes, args: list[bytes]) -> Reply:
        plain = TABLE.get(name)
        if plain is None:
            return self._special(session, name, args)
        if name == b"XDEL" and self.deleting is not None:
            self.deleting(args[0], args[1:])
        if name in (b"XADD", b"XGROUP", b"DEL"):
            for key in args[1:2] if name == b"XGROUP" else args if name == b"DEL" else args[:1]:
                self._touched[key] = None
        return plain(self.keys, args)

    def _special(self, session: "RedisSession | None", name: bytes, args: list[bytes]) -> Reply:
        if name == b"PUBLISH":
            return self.publish(args[0], args[1])
        if name in (b"EVAL", b"EVALSHA"):
            count = int(args[1])
            text = self._text(args[0]) if name == b"EVALSHA" else self._load(args[0])
            if self.full and text in GROWING_SCRIPTS:
                raise ResponseError(FULL)
            return script_of(text)(self, args[2 : 2 + count], args[2 + count :])
        if name == b"SCRIPT":
            return self._script(args)
        if name == b"XREADGROUP":
            return Reading(args).answer(self.keys)
        if name == b"FLUSHALL":
            self.flush()
            return OK
        if name == b"SUBSCRIBE" and session is not None:
            return self.subscribe(session, args[0])
        if name == b"PING":
            return b"PONG"
        raise ResponseError(f"ERR unknown command '{name.decode()}' to the twin")

    def _script(self, args: list[bytes]) -> Reply:
        if args[0].upper() == b"LOAD":
            self._load(args[1])
            return _sum_of(args[1])
        self._loaded.clear()  # FLUSH
        return OK

    def _load(self, text: bytes) -> str:
        script = text.decode()
        self._loaded[_sum_of(text)] = script
        return script

    def _text(self, sha: bytes) -> str:
        try:
            return self._loaded[sha.lower()]
        except KeyError:
            raise ResponseError("NOSCRIPT No matching script. Please use EVAL.") from None

    def _serve_blocked(self) -> None:
        """Answer those who waited for what came: in the order in which they began to wait."""
        while self._touched:
            touched, self._touched = self._touched, {}
            for session, reading in list(self._blocked.items()):
                key = next((key for key, _ in reading.streams if key in touched), None)
                if key is None:
                    continue
                reply = self._late(reading, key)
                if reply is not None:
                    del self._blocked[session]
                    session.answer([reply])

    def _late(self, reading: Reading, key: bytes) -> Reply:
        if self.keys.get(key, Stream) is None:
            return ResponseError("UNBLOCKED the stream key no longer exists")
        return self._caught(lambda: reading.answer(self.keys))


@lru_cache(maxsize=READINGS)
def _reading(command: tuple[bytes, ...]) -> Reading:
    return Reading(list(command[1:]))


def _sum_of(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


class RedisSession:
    """One connection of a client."""

    def __init__(self, server: TwinRedis, tell: Callable[[Any], None], cut: Callable[[], None]) -> None:
        self._server = server
        self.tell, self.cut = tell, cut
        self._queue: deque[Request] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False

    def received(self, message: Request) -> None:
        """Take a request; while one waits, the next ones do too."""
        self._queue.append(message)
        self._go_on()

    def closed(self) -> None:
        """End: a read that waits takes nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._server.forget(self)

    def answer(self, replies: list[Reply]) -> None:
        """Answer the request that waited."""
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.tell(replies)
        self._go_on()

    def _go_on(self) -> None:
        while self._queue and not self._waiting:
            request = self._queue.popleft()
            replies = self._server.execute(self, request)
            if replies is None:
                self._wait(request)
            elif request.commands[0][0].upper() == b"SUBSCRIBE":
                self.tell(replies[0])
            else:
                self.tell(replies)

    def _wait(self, request: Request) -> None:
        self._waiting = True
        block_ms = _reading(tuple(request.commands[0])).block_ms
        if block_ms:
            self._timer = asyncio.get_running_loop().call_later(block_ms / 1000, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        if self._server.give_up(self):
            self.answer([None])
