"""Owns the end of a run: it waits until the system is calm and the clients have everything, and reads the final state.

Nothing here decides whether a promise was kept: every wait has a deadline, and what was not reached by then shows in
the final state.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar
from zlib import crc32

from chatcore.keys import Keys
from pymysql.err import MySQLError
from redis.exceptions import RedisError

from chatctl.verify.case import RECOVERY_S, Case
from chatctl.verify.connection import ConnectionClosed, RawConnection, Refused
from chatctl.verify.final_state import DeviceEnd, Entry, FinalState, StreamEnd
from chatctl.verify.history import History, Pair, pair_of
from chatctl.verify.ledger import Ledger
from chatctl.verify.population import Player, Population, bare_device, stopped
from chatctl.verify.probes import Prober, users_of
from chatctl.verify.properties.liveness import CONVERGE_S
from chatctl.verify.properties.marks import receipts_converge
from chatctl.verify.properties.order import every_device_is_complete
from chatctl.verify.properties.presence import GONE_S, SEEN_S
from chatctl.verify.reading import last_of_sync, read_list, read_log
from chatctl.verify.stalling import StallTrial
from chatctl.verify.stalling import users_of as users_of_trial
from chatctl.verify.stores import read_dead, read_members, read_rows, read_streams
from chatctl.verify.system import Stores, System
from chatctl.verify.waiting import until

READY_S: Final = 120.0
"""Deadline for every service to be ready: twice what the property allows."""
TALK_S: Final = 4.0
"""Seconds of ordinary talk after the faults."""
WHOLE_S: Final = CONVERGE_S * 2 + 5
"""Deadline for everybody to have everything: past the property's limit, so that it can be told how late it was."""
ONE_SYNC_S: Final = 20.0
EMPTY_S: Final = 20.0
"""Seconds for the streams to run empty."""
T = TypeVar("T")
TRIES: Final = 5
"""Of one reading through the protocol; between them a second."""
READERS: Final = 8
"""Users whose conversations are read at once."""
UNREADABLE: Final = (OSError, RedisError, MySQLError, TimeoutError)


def users_at_the_end(mark: str) -> list[str]:
    """Name the users that come only once the faults have ended."""
    return [*users_of(mark), *users_of_trial(mark), _judge(mark)]


def _judge(mark: str) -> str:
    return f"judge-{mark}"


class Settling:
    """The end of one run."""

    def __init__(
        self,
        system: System,
        history: History,
        population: Population,
        *,
        mark: str,
        ledger: Ledger | None,
        trial: StallTrial | None,
    ) -> None:
        self._system = system
        self._history = history
        self._population = population
        self._mark = mark
        self._ledger = ledger
        self._trial = trial
        self._prober = Prober(system, history, mark)

    async def run(self, say: Callable[[str], None]) -> FinalState:
        """Go through the end, step by step. Clients are connected, but for sleepers, when it returns."""
        say("waiting for every service")
        with suppress(TimeoutError):
            await self._system.wait_ready(READY_S)
            self._history.calm_s = self._history.clock()
        self._population.calm_down()
        say("trying every operation")
        self._prober = Prober(self._system, self._history, self._mark)
        await asyncio.gather(self._prober.run(), asyncio.sleep(TALK_S))
        await self._population.be_quiet()
        self._history.quiet_s = self._history.clock()
        if self._trial is not None and self._history.calm_s is not None:
            say("having a client read nothing")
            await self._seconds_count()
            await self._trial.run()
        say("waiting until everybody has everything")
        await until(lambda: not any(end.unanswered for end in self._population.ends()), WHOLE_S)
        before = await self._logs()
        await until(lambda: self._is_whole(before), WHOLE_S)
        say("waking the sleepers")
        await self._wake()
        logs = await self._logs()
        await until(lambda: self._is_whole(logs, with_sleepers=True), ONE_SYNC_S)
        ends = self._population.ends(with_sleepers=True)
        say("watching people come and go")
        online = await self._come_and_go()
        say("reading everything back")
        return await self._final(logs, ends, online)

    @property
    def _pairs(self) -> set[Pair]:
        tried = set() if self._trial is None else self._trial.pairs
        return {*self._population.pairs, *tried, (self._prober.one, self._prober.other)}

    def _is_whole(self, logs: dict[Pair, list[Entry]], *, with_sleepers: bool = False) -> bool:
        ends = self._population.ends(with_sleepers=with_sleepers)
        case = Case(History(), FinalState(logs=logs, devices=ends))
        return not any(True for check in (every_device_is_complete, receipts_converge) for _ in check(case))

    async def _wake(self) -> None:
        sleepers = [player for player in self._population.players if player.sleeps]
        for player in sleepers:
            player.device.start()
        await until(
            lambda: all(player.device.inbox.synced and not player.device.state.outbox for player in sleepers),
            ONE_SYNC_S,
        )

    async def _come_and_go(self) -> dict[str, tuple[bool, bool]]:
        """Let some people leave in three ways, and return, before a watcher's eyes; then ask who is online."""
        await self._seconds_count()
        alone = [player for player in self._population.players if self._is_alone(player)]
        for player, how in zip(alone, ("close", "abort", "linger", "close", "abort", "linger"), strict=False):
            player.device.prefer(self._system.gateways[-1])
            player.device.go(how, away_s=0.0 if how == "linger" else SEEN_S * 3)  # type: ignore[arg-type] # one of `How`
        await asyncio.sleep(SEEN_S * 6)
        gone = alone[len(alone) // 2 :]
        await asyncio.gather(*(stopped(player.device) for player in gone))
        truth = {user: user not in {player.device.user for player in gone} for user in self._population.users}
        return await self._ask_who_is_online(truth)

    async def _seconds_count(self) -> None:
        """Wait until the faults are so long ago that seconds count."""
        history = self._history
        if history.faults and history.calm_s is not None:
            await asyncio.sleep(max(0.0, history.calm_s + RECOVERY_S - history.clock()))

    def _is_alone(self, player: Player) -> bool:
        """Tell whether nobody else is the same user: only then does one device's leaving show."""
        users = [one.device.user for one in self._population.players]
        users += [one.user for one in self._population.libraries]
        return player.device.started and users.count(player.device.user) == 1

    async def _ask_who_is_online(self, truth: dict[str, bool]) -> dict[str, tuple[bool, bool]]:
        judge = bare_device(self._system, self._history, _judge(self._mark), "phone")
        judge.watch(list(truth))
        judge.start()
        try:
            ttl_s = max((link.ttl_s for link in Case(self._history, FinalState({}, [])).links.values()), default=30.0)
            await until(lambda: {user: judge.inbox.presence.get(user) for user in truth} == truth, ttl_s + GONE_S)
            return {user: (judge.inbox.presence.get(user) is True, online) for user, online in truth.items()}
        finally:
            await stopped(judge)

    async def _final(
        self, logs: dict[Pair, list[Entry]], ends: list[DeviceEnd], online: dict[str, tuple[bool, bool]]
    ) -> FinalState:
        await self._population.stop()
        await self._prober.stop()
        streams = await self._streams()
        rows, members = None, None
        if isinstance(self._system, Stores):
            with suppress(*UNREADABLE):
                async with self._system.mysql() as mysql:
                    rows, members = await read_rows(mysql, self._pairs), await read_members(mysql)
        fresh, listed = await self._views()
        return FinalState(
            logs=logs,
            devices=ends,
            mirrors=await self._logs(mirrored=True),
            fresh=fresh,
            listed=listed,
            rows=rows,
            members=members,
            streams=streams,
            dead=await self._dead(),
            early=None if self._ledger is None else self._ledger.early,
            stale=None if self._ledger is None else await self._ledger.stale(),
            online=online,
        )

    async def _streams(self) -> list[StreamEnd] | None:
        if not isinstance(self._system, Stores):
            return None
        found: list[StreamEnd] = []
        redis = self._system.redis()
        try:

            async def empty() -> bool:
                found[:] = await read_streams(redis, Keys())
                return not any(stream.entries or stream.pending for stream in found)

            await until(empty, EMPTY_S)
            return found
        except UNREADABLE:
            return None
        finally:
            await redis.aclose()

    async def _dead(self) -> list[str] | None:
        if not isinstance(self._system, Stores):
            return None
        redis = self._system.redis()
        try:
            return await read_dead(redis, Keys())
        except UNREADABLE:
            return None
        finally:
            await redis.aclose()

    async def _logs(self, *, mirrored: bool = False) -> dict[Pair, list[Entry]]:
        gate = asyncio.Semaphore(READERS)
        found: dict[Pair, list[Entry]] = {}
        peers: dict[str, list[str]] = defaultdict(list)
        for pair in sorted(self._pairs):
            user, peer = pair[::-1] if mirrored else pair
            peers[user].append(peer)

        async def read(user: str) -> None:
            # All of a user on one connection: a second one of the device would replace the first.
            async def logs(connection: RawConnection) -> dict[Pair, list[Entry]]:
                return {pair_of(user, peer): await read_log(connection, peer) for peer in peers[user]}

            async with gate:
                found.update(await self._read(user, "judge", logs))

        await asyncio.gather(*(read(user) for user in peers))
        return found

    async def _views(self) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
        gate = asyncio.Semaphore(READERS)
        fresh: dict[str, dict[str, int]] = {}
        listed: dict[str, dict[str, int]] = {}

        async def look(connection: RawConnection) -> tuple[dict[str, int], dict[str, int]]:
            return last_of_sync(await connection.sync()), await read_list(connection)

        async def read(user: str) -> None:
            async with gate:
                fresh[user], listed[user] = await self._read(user, "fresh", look)

        await asyncio.gather(*(read(user) for user in self._population.users))
        return fresh, listed

    async def _read(self, user: str, device: str, reading: Callable[[RawConnection], Awaitable[T]]) -> T:
        """Read something on a connection of its own, and try again when that fails."""
        error: BaseException = AssertionError("never tried")
        for _ in range(TRIES):
            try:
                base = self._system.gateways[crc32(user.encode()) % len(self._system.gateways)]
                connection = await RawConnection.open(base, self._system.token(user), device)
                try:
                    await connection.expect("welcome")
                    return await reading(connection)
                finally:
                    await connection.close()
            except (OSError, Refused, TimeoutError, ConnectionClosed, AssertionError) as failed:
                error = failed
                await asyncio.sleep(1)
        raise error
