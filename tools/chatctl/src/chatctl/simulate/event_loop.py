"""Owns virtual time: an event loop whose clock jumps to the next timer, and the processes that share it.

There is no real I/O and no thread, so the order of everything follows from the order of what was scheduled. A process
that is paused runs nothing, as after a SIGSTOP; one that is killed never runs again.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

PROCESS: Final[ContextVar["Process | None"]] = ContextVar("process", default=None)


class Stuck(RuntimeError):
    """Nothing is left that could ever happen."""


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
        self._kept: list[asyncio.Handle] = []
        self.paused = False

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a task in it."""
        return self._loop.create_task(work, name=self.name, context=self.context.copy())

    def pause(self) -> None:
        """Run nothing more, as after a SIGSTOP."""
        self.paused = True

    def resume(self) -> None:
        """Go on with all that came meanwhile, in its order."""
        self.paused = False
        if self.alive:
            kept, self._kept = self._kept, []
            self._loop.run_again(kept)

    def kill(self) -> None:
        """Never run again, as after a SIGKILL."""
        self.alive = False

    def bury(self) -> None:
        """Let the dead end in peace, once nobody looks any more: what it held is cancelled and closed by its tasks."""
        self.alive = True
        self.resume()

    def terminate(self) -> None:
        """Ask it to stop, as a SIGTERM does."""
        if self.on_term is not None:
            self._loop.call_soon(self.on_term, context=self.context.copy())

    @property
    def holds(self) -> bool:
        """Whether its handles have to wait, perhaps for ever."""
        return self.paused or not self.alive

    def keep(self, handle: asyncio.Handle) -> None:
        """Put by what would have run."""
        self._kept.append(handle)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes only when nothing is left to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.turns = 0

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Run these next, in their order."""
        self._ready.extend(handles)  # type: ignore[attr-defined]  # asyncio's own queue

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
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]  # asyncio's own queues
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready and not self._stopping:  # type: ignore[attr-defined]  # asyncio's own flag
            if not timers:
                raise Stuck("nothing is left to wait for")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            self._run(ready.popleft())

    def _run(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]  # asyncio's own field
        if process is not None and process.holds:
            process.keep(handle)
            return
        self.turns += 1
        handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is dropped when it comes to the front."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""
