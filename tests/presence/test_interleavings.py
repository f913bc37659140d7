"""The scripts against the core: any interleaving of what gateways do and what two replicas handle, on a real Redis.

The clock is Redis's own, so time passes by moving every deadline back instead.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from chatcore.ids import ConnectionNumber, GatewayId, UserId
from chatcore.keys import Keys
from chatcore.presence import GAP_MS, Seen, extend, look, subscribe, unsubscribe, watching
from chatcore.push import Kind, read_presence, records
from chatcore.redis_client import connect_to
from chatcore.stream import Subscribed, Unsubscribed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from presence.devices import Devices
from presence.metrics import PresenceMetrics
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from tests.presence.gateways import TTL_MS, now_ms

USERS = st.sampled_from(("alice", "bob"))
REPLICAS = st.sampled_from((0, 1))
GATEWAYS = st.sampled_from(("g1", "g2"))
STEP_MS = 5_000
"""What time passes by: far more than an example takes, so no deadline is reached by the test's own time."""
Told = tuple[str, int, int, str, bool]
"""Gateway, kind, connection, user, online."""


class Halting(Devices):
    """A replica that may be halted between a look and the note of when to look again."""

    def __init__(self, url: str, keys: Keys, name: str) -> None:
        metrics = PresenceMetrics(CollectorRegistry())
        super().__init__(connect_to(url), keys=keys, name=name, ttl_ms=TTL_MS, metrics=metrics)
        self.going = asyncio.Event()
        self.going.set()
        self.halted = asyncio.Event()

    async def _evaluate(self, text: str, calls: Any) -> list[Any]:
        found = await super()._evaluate(text, calls)
        if not self.going.is_set():
            self.halted.set()
            await self.going.wait()
        return found


@dataclass
class User:
    """What the core says of a user."""

    devices: dict[str, int] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    watch: dict[str, int] = field(default_factory=dict)


class Interleavings(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.keys = Keys(f"t{secrets.token_hex(4)}")
        self.users = {"alice": User(), "bob": User()}
        self.events: list[str] = []
        """Users whose connect or disconnect nobody has handled yet."""
        self.words: list[tuple[Subscribed | Unsubscribed, int]] = []
        self.halted: dict[int, asyncio.Task[None]] = {}
        self.count = 0
        self.told: list[Told] = []
        self.transitions: dict[str, list[bool]] = {"alice": [], "bob": []}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        self.redis: Any = Redis.from_url(self.url, protocol=2)
        self.replicas = [Halting(self.url, self.keys, name) for name in ("one", "two")]
        self.pubsub = self.redis.pubsub()
        await self.pubsub.subscribe(*(self.keys.channel(name) for name in ("g1", "g2")), f"{self.keys.prefix}:mark")
        for _ in range(3):
            await self.pubsub.get_message(timeout=5)

    def teardown(self) -> None:
        if hasattr(self, "pubsub"):
            self.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        try:
            await self._no_ghosts_at_the_end()
        finally:
            await self.pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py's own gap
            await self.redis.aclose()
            for replica in self.replicas:
                await replica.close()

    async def _no_ghosts_at_the_end(self) -> None:
        for number in tuple(self.halted):
            await self._resume(number)
        while self.events:
            await self._handle(0, 0)
        await self._pass(TTL_MS + STEP_MS)
        await self._sweep(1)
        await self._sweep(1)
        for user in self.users:
            assert await self.redis.zcard(self.keys.devices(user)) == 0
            assert not self.users[user].seen.online
            assert self.transitions[user] == [i % 2 == 0 for i in range(len(self.transitions[user]))]
        assert await self.redis.zcard(self.keys.deadlines) == 0, "who has no device is looked at for ever"

    # What gateways do.

    @rule(user=USERS, gateway=GATEWAYS)
    def enter(self, user: str, gateway: str) -> None:
        self.run(self._enter(user, gateway))

    async def _enter(self, user: str, gateway: str) -> None:
        self.count += 1
        now = await now_ms(self.redis)
        member = f"phone|{gateway}|{self.count}|{now}"
        await self.redis.zadd(self.keys.devices(user), {member: now + TTL_MS})
        self.users[user].devices[member] = now + TTL_MS
        self.events.append(user)

    @rule(user=USERS, data=st.data())
    def remove(self, user: str, data: st.DataObject) -> None:
        devices = self.users[user].devices
        if devices:
            member = data.draw(st.sampled_from(sorted(devices)))
            del devices[member]
            self.run(self.redis.zrem(self.keys.devices(user), member))
            self.events.append(user)

    @rule(user=USERS, gateway=GATEWAYS, begins=st.booleans())
    def ask(self, user: str, gateway: str, begins: bool) -> None:
        kind = Subscribed(UserId(user), GatewayId(gateway), ConnectionNumber(0), None)
        word = kind if begins else Unsubscribed(UserId(user), GatewayId(gateway))
        self.words.append((word, self.run(now_ms(self.redis))))

    # What replicas do.

    @precondition(lambda self: self.events)
    @rule(replica=REPLICAS, data=st.data(), halts=st.booleans())
    def handle(self, replica: int, data: st.DataObject, halts: bool) -> None:
        if replica not in self.halted:
            which = data.draw(st.integers(0, len(self.events) - 1))
            self.run(self._handle(replica, which, halts=halts))

    async def _handle(self, replica: int, which: int, *, halts: bool = False) -> None:
        user, one = self.events.pop(which), self.replicas[replica]
        await self._do(replica, one.look([user], "connection"), halts=halts)
        await self._looked(user, one)

    async def _do(self, replica: int, work: Coroutine[Any, Any, None], *, halts: bool) -> None:
        one = self.replicas[replica]
        if not halts:
            await work
            return
        one.going.clear()
        one.halted.clear()
        self.halted[replica] = asyncio.create_task(work)
        await one.halted.wait()

    @rule(replica=REPLICAS)
    def resume(self, replica: int) -> None:
        self.run(self._resume(replica))

    async def _resume(self, replica: int) -> None:
        task = self.halted.pop(replica, None)
        if task is not None:
            self.replicas[replica].going.set()
            await task

    @rule(user=USERS, data=st.data(), replica=REPLICAS)
    def beat(self, user: str, data: st.DataObject, replica: int) -> None:
        gone = "phone|g1|999|1"
        beating = data.draw(st.lists(st.sampled_from([*sorted(self.users[user].devices), gone]), unique=True))
        if replica not in self.halted and beating:
            self.run(self._beat(user, beating, replica))

    async def _beat(self, user: str, beating: Sequence[str], replica: int) -> None:
        now = await now_ms(self.redis)
        await self.replicas[replica].extend([(user, member) for member in beating], now)
        self.users[user].devices = dict(extend(self.users[user].devices, beating, now, TTL_MS))

    @rule(replica=REPLICAS, halts=st.booleans())
    def sweep(self, replica: int, halts: bool) -> None:
        if replica not in self.halted:
            self.run(self._sweep(replica, halts=halts))

    async def _sweep(self, replica: int, *, halts: bool = False) -> None:
        one = self.replicas[replica]
        tick = await one.tick(100)
        if tick.due:
            one.sweep_until = tick.now + GAP_MS
            await self._do(replica, one.sweep(tick), halts=halts)
            for user in tick.due:
                await self._looked(user, one)
        one.sweep_until = 0

    @precondition(lambda self: self.words)
    @rule(replica=REPLICAS, data=st.data())
    def hear(self, replica: int, data: st.DataObject) -> None:
        if replica not in self.halted:
            which = data.draw(st.integers(0, len(self.words) - 1))
            self.run(self._hear(self.replicas[replica], *self.words.pop(which)))

    async def _hear(self, one: Halting, word: Subscribed | Unsubscribed, asked_ms: int) -> None:
        user = self.users[word.user]
        if isinstance(word, Unsubscribed):
            await one.unsubscribe([(word, asked_ms)])
            user.watch = dict(unsubscribe(user.watch, word.gateway, asked_ms))
        else:
            await one.subscribe([(word, asked_ms)])
            user.watch = dict(subscribe(user.watch, word.gateway, asked_ms))
            await self._looked(word.user, one, announced=word.gateway)

    @precondition(lambda self: not self.halted)
    @rule(steps=st.integers(1, 8))
    def time_passes(self, steps: int) -> None:
        self.run(self._pass(steps * STEP_MS))

    async def _pass(self, ms: int) -> None:
        names = [self.keys.deadlines]
        for name, user in self.users.items():
            names += [self.keys.devices(name), self.keys.watch(name)]
            user.devices = {member: deadline - ms for member, deadline in user.devices.items()}
            user.watch = {gateway: deadline - ms for gateway, deadline in user.watch.items()}
        for name in names:
            for member, score in await self.redis.zrange(name, 0, -1, withscores=True):
                await self.redis.zadd(name, {member: score - ms})
        self.words = [(word, asked_ms - ms) for word, asked_ms in self.words]

    # What must hold.

    async def _looked(self, name: str, one: Halting, announced: str = "") -> None:
        """Do in the core what a replica did, and compare what it told."""
        user, now = self.users[name], await now_ms(self.redis)
        found = look(user.devices, user.seen, now, TTL_MS, sweep_until=one.sweep_until)
        user.devices = dict(found.devices)
        user.seen = await self._seen_as(name, found.seen, now)
        told: list[Told] = []
        if found.changed:
            self.transitions[name].append(found.seen.online)
            user.watch = dict(watching(user.watch, now))
            told = [(g, Kind.PRESENCE, 0, name, found.seen.online) for g in user.watch]
        elif announced:
            told = [(announced, Kind.PRESENCE, 0, name, found.seen.online)]
        self.told += told

    async def _seen_as(self, name: str, seen: Seen, now: int) -> Seen:
        """Last seen now was some milliseconds ago; anything else is exact."""
        stored = await self.redis.get(self.keys.seen(name))
        if seen.online or stored in (None, b"on"):
            assert stored == (b"on" if seen.online else None)
        elif seen != self.users[name].seen:
            assert seen.last_seen is not None
            assert seen.last_seen - (STEP_MS if seen.last_seen == now else 0) <= int(stored) <= seen.last_seen
            seen = Seen(online=False, last_seen=int(stored))
        else:
            assert int(stored) == seen.last_seen
        return seen

    @invariant()
    def redis_holds_what_the_core_says(self) -> None:
        if hasattr(self, "pubsub"):
            self.run(self._agrees())

    async def _agrees(self) -> None:
        for name, user in self.users.items():
            assert await self._scores(self.keys.devices(name)) == user.devices
            assert await self._scores(self.keys.watch(name)) == user.watch
        assert sorted(await self._published()) == sorted(self.told)
        self.told = []

    async def _scores(self, key: str) -> dict[str, int]:
        return {m.decode(): int(score) for m, score in await self.redis.zrange(key, 0, -1, withscores=True)}

    async def _published(self) -> list[Told]:
        await self.redis.publish(f"{self.keys.prefix}:mark", b"")
        published: list[Told] = []
        while (message := await self.pubsub.get_message(timeout=5)) is not None and message["data"] != b"":
            gateway = message["channel"].decode().rpartition(":")[2]
            for kind, connection, payload in records(message["data"]):
                user, frame = read_presence(payload)
                published.append((gateway, kind, connection, user, orjson.loads(frame)["online"]))
        assert message is not None, "the mark was lost"
        return published

    @invariant()
    def who_is_online_is_looked_at_in_time(self) -> None:
        """A device that vanishes without a word is found at its deadline."""
        if hasattr(self, "pubsub") and not self.halted:
            self.run(self._in_time())

    async def _in_time(self) -> None:
        due = await self._scores(self.keys.deadlines)
        for name, user in self.users.items():
            if user.devices and name not in self.events:
                assert due.get(name, float("inf")) <= min(user.devices.values()), f"{name} would be a ghost"


def test_replicas_do_together_what_the_core_says_in_any_interleaving(redis: Any, presence_redis: str) -> None:
    class OnThisRedis(Interleavings):
        url = presence_redis

    run_state_machine_as_test(
        OnThisRedis,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
