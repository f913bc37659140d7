"""One direction of one proxied connection: takes what came in, and lets it out as the toxics in force allow.

It must never reorder, and never hold more than its bound: past it the sender's socket is no longer read.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from chatctl.faults.toxics import (
    WAY_BYTES,
    Bandwidth,
    Direction,
    Hears,
    Latency,
    LimitData,
    LoseAnswer,
    ResetPeer,
    Slicer,
    Timeout,
    Toxic,
    delay_of,
    slices,
)

HIGH_BYTES: Final = 256 * 1024
"""Bytes that a lane holds before its sender waits: a slow line fills up, and TCP tells the sender so."""


class Toxics:
    """The toxics in force on a proxy's lines. They may change while data is on its way."""

    def __init__(self) -> None:
        self._all: tuple[Toxic, ...] = ()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._all)

    def of(self, direction: Direction) -> list[Toxic]:
        """Name those of one direction, in the order in which they were added."""
        return [toxic for toxic in self._all if toxic.direction == direction]

    def add(self, toxic: Toxic) -> None:
        """Put one more in force."""
        self._set((*self._all, toxic))

    def remove(self, toxic: Toxic) -> None:
        """Take one out of force; one that is not in force is no error."""
        self._set(tuple(one for one in self._all if one is not toxic))

    async def change(self, timeout_s: float | None = None) -> None:
        """Wait for the next change, or for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _set(self, toxics: tuple[Toxic, ...]) -> None:
        self._all = toxics
        self._changed.set()  # wakes who waits now; who comes later waits for the next change
        self._changed = asyncio.Event()


class Lane:
    """Data from one transport to another, and its end behind it."""

    def __init__(
        self,
        direction: Direction,
        toxics: Toxics,
        *,
        source: asyncio.Transport,
        sink: asyncio.Transport,
        cut: Callable[[], None],
        random: Random,
    ) -> None:
        self.other: Lane | None = None
        """The lane of the answers."""
        self._direction, self._toxics, self._random = direction, toxics, random
        self._source, self._sink, self._cut = source, sink, cut
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._afflicted: dict[int, tuple[Toxic, bool]] = {}
        self._listening: dict[int, tuple[LoseAnswer, Hears]] = {}
        self._passed_bytes: dict[int, int] = {}
        self._clock = asyncio.get_running_loop().time
        self._came_at = self._clock()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._ready = asyncio.Event()
        self._ended = False
        self._answer_lost = False

    def feed(self, data: bytes) -> None:
        """Take data that came in."""
        if self._answer_lost:
            self._cut()
        elif not self._waiting and self._resumed.is_set() and not self._in_force():
            self._let_out(data)
        else:
            self._waiting.append((self._clock(), data))
            self._waiting_bytes += len(data)
            if self._waiting_bytes > HIGH_BYTES:
                self._source.pause_reading()
            self._ready.set()

    def end(self) -> None:
        """The source sends no more; what waits goes first."""
        self._ended = True
        self._ready.set()

    def hold(self) -> None:
        """The sink is full: let nothing out, and stop the source at the bound."""
        self._resumed.clear()

    def resume(self) -> None:
        """The sink has room again."""
        self._resumed.set()

    async def run(self) -> None:
        """Let out what waits, until the end has passed. Cancelling drops what waits."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                await self._pass(*self._waiting[0])
                _, data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
                if self._waiting_bytes <= HIGH_BYTES // 2 and not self._source.is_closing():
                    self._source.resume_reading()
            if self._ended:
                await self._held()
                return

    def _in_force(self) -> list[Toxic]:
        return [toxic for toxic in self._toxics.of(self._direction) if self._afflicts(toxic)]

    def _afflicts(self, toxic: Toxic) -> bool:
        # Kept with its answer: an id alone could come again once a toxic is gone.
        if id(toxic) not in self._afflicted:
            self._afflicted[id(toxic)] = toxic, self._random.random() < toxic.toxicity
        return self._afflicted[id(toxic)][1]

    async def _pass(self, arrived: float, data: bytes) -> None:
        await self._held()
        silent_s, self._came_at = arrived - self._came_at, arrived
        toxics = self._in_force()
        if any(isinstance(toxic, ResetPeer) and silent_s >= toxic.after_s for toxic in toxics):
            self._cut()
            return
        late_s = sum(delay_of(toxic, self._random) for toxic in toxics if isinstance(toxic, Latency))
        await asyncio.sleep(max(0.0, arrived + late_s - self._clock()))
        for piece, pause_s in self._pieces(data, toxics):
            await self._resumed.wait()
            await self._held()
            if self._write(piece, toxics):
                return
            await asyncio.sleep(pause_s)

    def _pieces(self, data: bytes, toxics: Iterable[Toxic]) -> Iterable[tuple[bytes, float]]:
        pieces, pause_s = [data], 0.0
        for toxic in toxics:
            if isinstance(toxic, Slicer):
                pieces = [part for piece in pieces for part in slices(toxic, piece, self._random)]
                pause_s += toxic.delay_s
        rate = min((toxic.bytes_per_s for toxic in toxics if isinstance(toxic, Bandwidth)), default=0.0)
        if rate:
            pieces = [piece[at : at + WAY_BYTES] for piece in pieces for at in range(0, len(piece), WAY_BYTES)]
        return [(piece, pause_s + (len(piece) / rate if rate else 0.0)) for piece in pieces]

    def _write(self, piece: bytes, toxics: Iterable[Toxic]) -> bool:
        """Let a piece out; tells whether that was the connection's end."""
        for toxic in toxics:
            if isinstance(toxic, LimitData):
                passed = self._passed_bytes.get(id(toxic), 0)
                self._passed_bytes[id(toxic)] = passed + len(piece)
                if passed + len(piece) >= toxic.limit_bytes:
                    self._let_out(piece[: toxic.limit_bytes - passed])
                    self._cut()
                    return True
            elif isinstance(toxic, LoseAnswer) and self._hears(toxic, piece) and self.other is not None:
                self.other._answer_lost = True
        self._let_out(piece)
        return False

    def _hears(self, toxic: LoseAnswer, piece: bytes) -> bool:
        # Kept with its listener: an id alone could come again once a toxic is gone.
        if id(toxic) not in self._listening:
            self._listening[id(toxic)] = toxic, toxic.listener()
        return self._listening[id(toxic)][1](piece)

    def _let_out(self, data: bytes) -> None:
        if not self._sink.is_closing():
            self._sink.write(data)

    async def _held(self) -> None:
        """Wait while a time-out is in force; past its time the connection is cut."""
        began = self._clock()
        while True:
            holding = [toxic.timeout_s for toxic in self._in_force() if isinstance(toxic, Timeout)]
            if not holding:
                return
            rest = [timeout_s - (self._clock() - began) for timeout_s in holding if timeout_s]
            if rest and min(rest) <= 0:
                self._cut()
                return
            await self._toxics.change(min(rest) if rest else None)
