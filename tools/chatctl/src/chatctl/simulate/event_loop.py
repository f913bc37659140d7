"""Owns virtual time: an event loop whose clock jumps to the next timer, and the processes that share it.

There is no real I/O and no thread, so the order of everything follows from what was scheduled and from the dice that
the loop was given. A process that is paused runs nothing, as after a SIGSTOP; one that is killed never runs again.

What is ready in the same moment runs in a drawn order, but only where a real machine keeps none:

- processes share nothing but messages, so which of two runs first is the kernel's whim. Inside one of them the order
  of `call_soon` stands: asyncio promises it, and honest code relies on it;
- timers of the same moment: asyncio keeps them in a heap, which forgets who came first;
- what came for a process while it stood still, or had no CPU: a selector tells of connections in any order, and a
  message that came before a timer was due may as well have come after it. Inside one connection, and among timers of
  different moments, the order stands; so does what the process itself had made ready before it stood still.
"""

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Final

PROCESS: Final[ContextVar["Process | None"]] = ContextVar("process", default=None)


class Stuck(RuntimeError):
    """Nothing is left that could ever happen."""


class Stream:
    """Marks what delivers in order: its own callbacks never pass each other."""

    __slots__ = ()


class Process:
    """What shares one fate: everything that was started in its context."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.skew_s = 0.0
        """How far its wall clock is off."""
        self.on_term: Callable[[], None] | None = None
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)
        self._loop = loop
        self._pauses = 0
        self._paused_s = 0.0
        self._in_line: list[asyncio.Handle] = []
        self._came: list[asyncio.Handle] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a task in it."""
        return self._loop.create_task(work, name=self.name, context=self.context.copy())

    def pause(self) -> None:
        """Run nothing more, as after a SIGSTOP. Pauses add up: each has to be resumed."""
        if not self._pauses:
            self._paused_s = self._loop.time()
        self._pauses += 1

    def resume(self) -> None:
        """Go on, unless another pause lasts: with what was in line, then with what came meanwhile, in a drawn order."""
        self._pauses = max(0, self._pauses - 1)
        if not self.holds:
            kept = [*self._in_line, *self._loop.drawn(self._came, _source)]
            self._in_line, self._came = [], []
            self._loop.run_again(kept)

    def kill(self) -> None:
        """Never run again, as after a SIGKILL."""
        self.alive = False

    def bury(self) -> None:
        """Let the dead end in peace, once nobody looks any more: what it held is cancelled and closed by its tasks."""
        self.alive = True
        self._pauses = 0
        self.resume()

    def terminate(self) -> None:
        """Ask it to stop, as a SIGTERM does."""
        if self.on_term is not None:
            self._loop.call_soon(self.on_term, context=self.context.copy())

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._pauses > 0

    @property
    def holds(self) -> bool:
        """Whether its handles have to wait, perhaps for ever."""
        return self._pauses > 0 or not self.alive

    def keep(self, handle: asyncio.Handle) -> None:
        """Put by what would have run."""
        (self._in_line if self._loop.time() == self._paused_s else self._came).append(handle)


def _source(handle: asyncio.Handle) -> Hashable:
    """Name what a handle came from, whose order stands: a connection, the timers; or the handle itself."""
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]  # asyncio's own field
    if isinstance(owner, Stream):
        return id(owner)
    return asyncio.TimerHandle if isinstance(handle, asyncio.TimerHandle) else id(handle)


def _process(handle: asyncio.Handle) -> Hashable:
    context: Context = handle._context  # type: ignore[attr-defined]  # asyncio's own field
    return context.get(PROCESS)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes only when nothing is left to do. `dice` decide what asyncio leaves open."""

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self._now = 0.0
        self._dice = dice
        self._timers: list[tuple[float, float, int, asyncio.TimerHandle]] = []
        self._made = 0
        self.turns = 0

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def call_at(  # type: ignore[override]  # without the type variables
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call at that time. Among timers of the same time, the order is drawn."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._made = made = self._made + 1
        heapq.heappush(self._timers, (when, self._dice.random(), made, handle))
        return handle

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # without the type variables
        """Call in the next turn, behind all that the same process has called for before."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]  # asyncio's own queue
        return handle

    def drawn(
        self, handles: Sequence[asyncio.Handle], source: Callable[[asyncio.Handle], Hashable]
    ) -> list[asyncio.Handle]:
        """Give them in a drawn order, in which those of one source keep theirs."""
        sources = [source(handle) for handle in handles]
        if len(set(sources)) < 2:
            return list(handles)
        lines: dict[Hashable, deque[asyncio.Handle]] = defaultdict(deque)
        for name, handle in zip(sources, handles, strict=True):
            lines[name].append(handle)
        turns = [line for line in lines.values() for _ in line]
        self._dice.shuffle(turns)
        return [line.popleft() for line in turns]

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Run these next, in their order, before what is ready."""
        self._ready.extendleft(reversed(handles))  # type: ignore[attr-defined]  # asyncio's own queue

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]  # without the type variables
        """Remember what a SIGTERM does to the current process."""
        process = PROCESS.get()
        if process is not None:
            del sig
            process.on_term = lambda: (callback(*args), None)[1]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # without the type variables
        """Refuse: a thread would bring real time in."""
        raise Stuck(f"a thread was asked for: {func} {executor} {args}")

    def _run_once(self) -> None:
        # The order of a real loop: what is due is added behind what is ready, then one round of it runs.
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]  # asyncio's own queue
        while timers and timers[0][3]._cancelled:
            heapq.heappop(timers)
        if not ready and not self._stopping:  # type: ignore[attr-defined]  # asyncio's own flag
            if not timers:
                raise Stuck("nothing is left to wait for")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[3])
        if len(ready) == 1:
            self._run(ready.popleft())
            return
        round_ = self.drawn(ready, _process)
        ready.clear()
        for handle in round_:
            self._run(handle)

    def _run(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]  # asyncio's own field
        if process is not None and process.holds:
            process.keep(handle)
            return
        self.turns += 1
        try:
            # As `Handle._run` does it, without a frame of its own: a third of a million times in a run.
            handle._context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]  # asyncio's own fields
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - a loop survives what it calls, and tells
            self.call_exception_handler({"message": f"Exception in {handle!r}", "exception": error, "handle": handle})

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is dropped when it comes to the front."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""
