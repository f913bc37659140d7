"""Owns what follows a commit: it looks up the routes, publishes the frames, and settles the entries (R3, R4).

| Key                   | Type    | TTL | Written by | Read by |
|-----------------------|---------|-----|------------|---------|
| `chat:devices:{user}` | zset    | -   | gateways, presence | here: every member, past its deadline or not |
| `chat:gw:<gateway>`   | channel | -   | here       | the gateway |
| `chat:in:{p}`         | stream  | -   | gateways; settled here | `inbox` |
| `chat:dead`           | stream  | -   | here       | people |

It caches nothing: a route is looked up after the commit, so a message is seen by the sync of a device that appears
meanwhile, or by the router, or by both.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from chatcore.delivery import Answer, Message, Plan, Receipt, Refused
from chatcore.delivery.frames import encode_answer, encode_message, encode_receipt
from chatcore.errors import CodecError
from chatcore.full_redis import ALLOW_FULL, run_anyway
from chatcore.keys import Keys, Member, group_of
from chatcore.push import Kind, Timing, record
from chatcore.redis_client import Connect, answered, close_redis
from chatcore.redis_clock import RedisClock

from delivery_worker.batch import DeadLetter, Packed
from delivery_worker.inbox import StreamEntry

Routes = Mapping[str, Sequence[Member]]
MAX_DEAD_BYTES: Final = 256 * 1024
"""Of a dead letter's data that are kept: an entry is no larger."""
ROUTES: Final = (
    ALLOW_FULL
    + """
local answers = {}
for at, key in ipairs(ARGV) do answers[at] = redis.call('ZRANGE', key, 0, -1) end
return answers
"""
)
"""Give every member of each user's devices. ARGV: the keys, not declared, as those of `chatcore.full_redis.RUN`.

For 300 users it costs the worker and Redis 0.7 ms together, a pipeline of as many commands 2.8: 12 % of a message."""


class Router(Protocol):
    """The worker's way to tell what was committed."""

    async def publish(
        self,
        plans: Sequence[Plan],
        *,
        refused: Sequence[Refused] = (),
        settle: Sequence[StreamEntry] = (),
        epoch: int = 0,
        dead: Sequence[DeadLetter] = (),
        packed: Sequence[Packed] = (),
    ) -> Collection[str]:
        """Look the routes up, then publish and settle at once; gives the users who have a device to tell."""


class Publications:
    """The records for each gateway, in order. Pure."""

    def __init__(self) -> None:
        self.by_gateway: dict[str, bytearray] = {}

    def add(self, gateway: str, kind: Kind, connection: int, payload: bytes) -> None:
        """Append a record for one connection."""
        self.by_gateway.setdefault(gateway, bytearray()).extend(record(kind, connection, payload))

    def answer(self, answer: Answer) -> None:
        """Answer an event, on the connection that it came from (R3)."""
        origin = answer.origin
        send = not isinstance(answer, Refused) or answer.client_id is not None
        self.add(origin.gateway, Kind.ANSWER if send else Kind.FRAME, origin.connection, encode_answer(answer))

    def push(self, push: Message | Receipt, routes: Routes) -> None:
        """Tell the devices of both users that are to know."""
        if isinstance(push, Message):
            row = push.row
            self._tell(routes.get(push.peer, ()), None, encode_message, row, row.sender)
            self._tell(routes.get(row.sender, ()), row.device, encode_message, row, push.peer)
            return
        if push.to_peer:
            self._tell(routes.get(push.peer, ()), None, encode_receipt, push, push.user)
        if push.to_self:
            self._tell(routes.get(push.user, ()), push.device, encode_receipt, push, push.peer)

    def time(self, now_ms: float, packed: Iterable[Packed]) -> None:
        """Say when this is published, and to each gateway which of its own turns are answered with it."""
        turns: dict[str, dict[int, int]] = {}
        for _, gateway, accepted_ms, _, _, sends in packed:
            if sends:
                answered = turns.setdefault(gateway, {})
                answered[accepted_ms] = answered.get(accepted_ms, 0) + sends
        for gateway in self.by_gateway:
            self.add(gateway, Kind.TIMING, 0, Timing(int(now_ms), turns.get(gateway, {})).encode())

    def _tell(self, members: Sequence[Member], but: str | None, encode: Any, what: Any, peer: str) -> None:
        frame = b""
        for member in members:
            if member.device != but:
                frame = frame or encode(what, peer)
                self.add(member.gateway, Kind.FRAME, member.connection, frame)


def users_of(pushes: Iterable[Message | Receipt]) -> set[str]:
    """Name the users whose routes the pushes need."""
    users: set[str] = set()
    for push in pushes:
        if isinstance(push, Message):
            users.update((push.peer, push.row.sender))
        else:
            users.update((push.peer, push.user))
    return users


class RedisRouter:
    """`Router` on Redis, used by fewer tasks at a time than it has connections."""

    def __init__(
        self,
        connect: Connect,
        *,
        keys: Keys,
        worker: str,
        dead_letters: int,
        connections: int = 2,
        clock: RedisClock | None = None,
    ) -> None:
        self._keys = keys
        self._clock = clock or RedisClock()
        self._dead_letters = dead_letters
        self._redis = connect(name=f"{worker}-router", connections=connections)

    async def publish(
        self,
        plans: Sequence[Plan],
        *,
        refused: Sequence[Refused] = (),
        settle: Sequence[StreamEntry] = (),
        epoch: int = 0,
        dead: Sequence[DeadLetter] = (),
        packed: Sequence[Packed] = (),
    ) -> Collection[str]:
        """Publish and settle, in one step. Raises `StoreUnavailable`: nobody knows, and the batch is repeated."""
        pushes = [push for plan in plans for push in plan.pushes]
        routes = await self.routes(users_of(pushes))
        publications = self.make_publications()
        for plan in plans:
            for answer in plan.answers:
                publications.answer(answer)
        for answer in refused:
            publications.answer(answer)
        for push in pushes:
            publications.push(push, routes)
        publications.time(self._clock.now_ms(), packed)
        await answered(self._execute(publications, settle, epoch, dead))
        return routes.keys()

    async def routes(self, users: Iterable[str]) -> dict[str, list[Member]]:
        """Look up every member of the users' devices. Raises `StoreUnavailable`."""
        wanted = list(users)
        if not wanted:
            return {}
        redis: Any = self._redis
        found = await answered(redis.eval(ROUTES, 0, *map(self._keys.devices, wanted)))
        return {user: members_of(rows) for user, rows in zip(wanted, found, strict=True) if rows}

    async def tell(self, publications: Publications) -> None:
        """Publish alone. Raises `StoreUnavailable`."""
        await answered(self._execute(publications, (), 0, ()))

    def make_publications(self) -> Publications:
        """Make what a batch's records are gathered in."""
        return Publications()

    async def close(self) -> None:
        """Close the client."""
        await close_redis(self._redis)

    async def _execute(
        self, publications: Publications, settle: Sequence[StreamEntry], epoch: int, dead: Sequence[DeadLetter]
    ) -> None:
        """Run one script: one step as MULTI is, also in a full Redis (R5b).

        A MULTI of the same commands and answers costs redis-py twice as much (176 instead of 83 microseconds for nine
        partitions): 7 % of a small batch.
        """
        commands: list[tuple[Any, ...]] = [
            ("PUBLISH", self._keys.channel(gateway), bytes(publication))
            for gateway, publication in publications.by_gateway.items()
        ]
        commands += [self._bury(letter) for letter in dead]
        by_partition: dict[int, list[bytes]] = {}
        for entry in settle:
            by_partition.setdefault(entry.partition, []).append(entry.id)
        for partition, ids in by_partition.items():
            stream = self._keys.inbox(partition)
            commands += [("XACK", stream, group_of(epoch), *ids), ("XDEL", stream, *ids)]
        if commands:
            await run_anyway(self._redis, *commands)

    def _bury(self, letter: DeadLetter) -> tuple[Any, ...]:
        fields = [part for field in _fields(letter).items() for part in field]
        return ("XADD", self._keys.dead, "MAXLEN", "~", self._dead_letters, "*", *fields)


def members_of(rows: Iterable[bytes]) -> list[Member]:
    """Read members, leaving out what is none: whoever wrote it cannot be told anything."""
    members = []
    for row in rows:
        try:
            members.append(Member.decode(row))
        except CodecError:
            continue
    return members


def _fields(letter: DeadLetter) -> Any:
    return {
        "reason": letter.reason[:1_000],
        "partition": letter.partition,
        "entry": letter.entry,
        "data": letter.data[:MAX_DEAD_BYTES],
    }
