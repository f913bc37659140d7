"""Owns who takes part in a run: users in a ring, their devices and what those do, a watcher, a stranger. From a seed.

It starts and stops them; what they do is `behaviour`'s part.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from chatctl.verify.behaviour import Behaviour, Pace
from chatctl.verify.case import FOR_EVER
from chatctl.verify.connection import RawConnection
from chatctl.verify.device import BareDevice
from chatctl.verify.final_state import DeviceEnd
from chatctl.verify.history import History, Pair, pair_of
from chatctl.verify.library_device import LibraryDevice
from chatctl.verify.system import System

LIBRARY_SHARE: Final = 6
"""One of so many devices is on chatclient."""
SLEEPER_SHARE: Final = 5
"""One of so many devices goes away for good in mid-run, and comes back once, in the end."""
STAYING_SHARE: Final = 0.4
"""Of the devices on the bare protocol, those that break no connection themselves: each new one gets a sync, which would
heal what was lost on the way to the one before."""
SILENT_SHARE: Final = 0.7
"""Of the conversations, those in which nobody says anything from some moment on: a next message, or mark, would heal
what was lost of the last ones."""
SILENT_FROM: Final = 0.1
"""Part of a run before which nobody falls silent."""
WINDOW: Final = 20
"""Sends in flight of one device."""
LAST_BACKOFF_S: Final = 3.0
"""Ceiling of a device's backoff: the protocol allows less than its 30 s, and a short run needs it."""
STOP_S: Final = 10.0


@dataclass(slots=True)
class Player:
    """One device on the bare protocol, and its person. Times are seconds from the run's begin."""

    device: BareDevice
    behaviour: Behaviour
    comes_s: float = 0.0
    sleeps_s: float | None = None
    acting: asyncio.Task[None] | None = None

    async def run(self, duration_s: float) -> None:
        """Come, act, and perhaps go to sleep."""
        await asyncio.sleep(self.comes_s)
        self.device.start()
        try:
            async with asyncio.timeout((self.sleeps_s or duration_s * 100) - self.comes_s):
                await self.behaviour.run()
        except TimeoutError:
            await stopped(self.device)

    @property
    def sleeps(self) -> bool:
        """Whether it is away until the end."""
        return self.sleeps_s is not None


@dataclass(slots=True)
class Population:
    """Everybody of a run."""

    players: list[Player] = field(default_factory=list)
    libraries: list[LibraryDevice] = field(default_factory=list)
    watchers: list[BareDevice] = field(default_factory=list)
    pairs: set[Pair] = field(default_factory=set)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def build(cls, system: System, history: History, *, seed: int, clients: int, duration_s: float, mark: str) -> Self:
        """Draw everybody. `mark` makes their ids unlike those of any other run on the same system."""
        made = cls()
        maker = _Maker(made, system, history, seed=seed, duration_s=duration_s, mark=mark)
        users = [f"u{number}-{mark}" for number in range(max(4, clients * 2 // 3))]
        peers = _ring(users)
        maker.fall_silent(peers)
        for number in range(clients):
            user = users[number % len(users)]
            maker.add(number, user, "phone" if number < len(users) else "laptop", peers[user])
        made.pairs = {pair_of(user, peer) for user, named in peers.items() for peer in named}
        maker.add_watchers(users)
        return made

    @property
    def users(self) -> list[str]:
        """Every user that talks."""
        return sorted({user for pair in self.pairs for user in pair})

    @property
    def awake(self) -> list[Player]:
        """The players that are not away until the end."""
        return [player for player in self.players if not player.sleeps]

    def start(self, duration_s: float) -> None:
        """Begin the run."""
        for watcher in self.watchers:
            watcher.start()
        for player in self.players:
            player.acting = asyncio.create_task(player.run(duration_s), name=f"player {player.device.user}")
        self.tasks = [asyncio.create_task(library.run(), name=f"library {library.user}") for library in self.libraries]

    def calm_down(self) -> None:
        """From now on nobody breaks a connection or stalls."""
        for player in self.players:
            player.behaviour.calm = True
            player.behaviour.settle()
        for library in self.libraries:
            library.calm = True

    async def be_quiet(self) -> None:
        """Nobody begins anything new; everybody stays connected and finishes what is under way."""
        for library in self.libraries:
            library.quiet = True
        acting = [player.acting for player in self.players if player.acting is not None]
        for task in acting:
            task.cancel()
        await asyncio.gather(*acting, return_exceptions=True)

    def ends(self, *, with_sleepers: bool = False) -> list[DeviceEnd]:
        """Return what the devices know that are, or should be, connected."""
        players = self.players if with_sleepers else self.awake
        living = [player for player in players if player.device.started]
        ends = [player.device.end(came_late=player.sleeps) for player in living]
        return ends + [
            library.end() for library, task in zip(self.libraries, self.tasks, strict=True) if not task.done()
        ]

    def fallen(self) -> list[str]:
        """Name the devices that an error ended, and the errors."""
        tasks = {f"{p.device.user}/{p.device.device}": p.device.failure for p in self.players}
        tasks |= {f"{d.user}/{d.device}": d.failure for d in self.watchers}
        for library, task in zip(self.libraries, self.tasks, strict=False):
            ended = task.done() and not task.cancelled()
            tasks[f"{library.user}/{library.device}"] = task.exception() if ended else None
        return [f"{name}: {type(error).__name__}: {error}" for name, error in tasks.items() if error is not None]

    async def stop(self) -> None:
        """Disconnect everybody; safe to repeat."""
        await self.be_quiet()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        devices = [*(player.device for player in self.players), *self.watchers]
        await asyncio.gather(*(stopped(device) for device in devices), return_exceptions=True)


class _Maker:
    """Makes the members of a population."""

    def __init__(
        self, made: Population, system: System, history: History, *, seed: int, duration_s: float, mark: str
    ) -> None:
        self._made, self._system, self._history = made, system, history
        self._seed, self._duration_s, self._mark = seed, duration_s, mark
        self._random = random.Random(f"population {seed}")  # noqa: S311 - a seed is to give the same again
        self._silent_s: dict[Pair, float] = {}

    def fall_silent(self, peers: dict[str, list[str]]) -> None:
        """Draw when, in seconds from the run's begin, both sides of which conversations say their last."""
        for pair in sorted({pair_of(user, peer) for user, named in peers.items() for peer in named}):
            if self._random.random() < SILENT_SHARE:
                self._silent_s[pair] = self._duration_s * self._random.uniform(SILENT_FROM, 1.0)

    def add(self, number: int, user: str, device: str, peers: Sequence[str]) -> None:
        """Add one client, on chatclient or on the bare protocol."""
        seed = f"{self._seed} {number}"
        if number % LIBRARY_SHARE == LIBRARY_SHARE - 1:
            library = LibraryDevice(
                user=user,
                device=device,
                peers=peers,
                talking=self._talking(user, peers),
                system=self._system,
                history=self._history,
                seed=seed,
                every_s=0.8,
            )
            self._made.libraries.append(library)
            return
        made = self._device(user, device)
        made.watch([peer for peer in peers if self._random.random() < 0.5])
        behaviour = Behaviour(
            made,
            self._talking(user, peers),
            gateways=self._system.gateways,
            seed=seed,
            pace=Pace(),
            calm=self._random.random() < STAYING_SHARE,
        )
        draw = self._random.random()
        player = Player(made, behaviour)
        if number % SLEEPER_SHARE == SLEEPER_SHARE - 1:
            player.sleeps_s = self._duration_s * self._random.uniform(0.3, 0.8)
        elif device == "laptop" and draw < 0.5:
            player.comes_s = self._duration_s * self._random.uniform(0.1, 0.8)
        self._made.players.append(player)

    def add_watchers(self, users: Sequence[str]) -> None:
        """Add one who watches everybody, and a stranger who does nothing at all."""
        watcher = self._device(f"watcher-{self._mark}", "phone")
        watcher.watch(users)
        self._made.watchers = [watcher, self._device(f"stranger-{self._mark}", "phone")]

    def _talking(self, user: str, peers: Sequence[str]) -> Callable[[], list[str]]:
        """Give what names the peers with whom a user still talks."""
        history, ends = self._history, {peer: self._silent_s.get(pair_of(user, peer), FOR_EVER) for peer in peers}
        return lambda: [peer for peer, end_s in ends.items() if history.clock() - history.begun_s < end_s]

    def _device(self, user: str, device: str) -> BareDevice:
        return bare_device(self._system, self._history, user, device)


def bare_device(
    system: System, history: History, user: str, device: str, *, connection: type[RawConnection] = RawConnection
) -> BareDevice:
    """Make a device that reads when told to, and comes back quickly."""
    return BareDevice(
        user=user,
        device=device,
        gateways=lambda: system.gateways,
        token=lambda: system.token(user),
        history=history,
        window=WINDOW,
        reads=False,
        last_backoff_s=LAST_BACKOFF_S,
        connection=connection,
    )


def _ring(users: Sequence[str]) -> dict[str, list[str]]:
    """Return, per user, the peers: one or two neighbours on each side."""
    steps = (1, 2) if len(users) > 4 else (1,)
    count = len(users)
    return {
        user: [users[(place + step * side) % count] for step in steps for side in (1, -1)]
        for place, user in enumerate(users)
    }


async def stopped(device: BareDevice) -> None:
    """Stop a device, in a bounded time; what ended it before is told by `failure`."""
    with suppress(Exception):
        async with asyncio.timeout(STOP_S):
            await device.stop()
