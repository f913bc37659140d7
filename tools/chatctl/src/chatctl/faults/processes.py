"""Faults of whole processes. The stack starts again whatever ends; who was held goes on however the block ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from typing import Final

from chatctl.faults.scene import Scene

BACK_S: Final = 30.0
"""Seconds for one process of a rolling restart to be back and ready."""
GRACE_S: Final = 20.0
"""Seconds from SIGTERM to SIGKILL: past the time that any of them needs."""
LOOK_S: Final = 0.05


@asynccontextmanager
async def killed(scene: Scene, target: str, _: Random) -> AsyncIterator[str]:
    """End a process with SIGKILL."""
    pid = scene.pid(target)
    os.kill(pid, signal.SIGKILL)
    yield f"pid {pid}"


@asynccontextmanager
async def terminated(scene: Scene, target: str, _: Random) -> AsyncIterator[str]:
    """Ask a process to end with SIGTERM, and end it when it does not, as any supervisor would.

    A MariaDB that is asked while it starts never ends.
    """
    pid = scene.pid(target)
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        yield f"pid {pid}"
        await _ended(handle)
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


async def _ended(handle: int) -> None:
    """Wait for a process's end, or until it has had its time."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(handle, over.set)  # readable once the process has ended (pidfd_open(2))
    try:
        async with asyncio.timeout(GRACE_S):
            await over.wait()
    except TimeoutError:
        return
    finally:
        loop.remove_reader(handle)


@asynccontextmanager
async def paused(scene: Scene, target: str, _: Random) -> AsyncIterator[str]:
    """Hold a process with SIGSTOP."""
    pid = scene.pid(target)
    with held(pid):
        yield f"pid {pid}"


@contextmanager
def held(*pids: int) -> Iterator[None]:
    """Hold processes with SIGSTOP for the length of a block. Raises `ProcessLookupError` for one that is gone."""
    handles: list[int] = []
    try:
        # By handles: a process that ends meanwhile must not give its number, and its SIGCONT, to another.
        handles += [os.pidfd_open(pid) for pid in pids]
        for handle in handles:
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
        yield
    finally:
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGCONT)
            os.close(handle)


@asynccontextmanager
async def rolled(scene: Scene, _: str, random: Random) -> AsyncIterator[str]:
    """Restart all services with SIGTERM, one after the other, each when the one before is back.

    Each is a step of its own to the scene: what is said of a drain is judged from the moment in which it was asked.
    """
    names = scene.shape.services
    random.shuffle(names)
    rolling = asyncio.create_task(_roll(scene, names), name="rolling")
    try:
        yield " ".join(names)
    finally:
        rolling.cancel()
        await asyncio.gather(rolling, return_exceptions=True)


async def _roll(scene: Scene, names: list[str]) -> None:
    for name in names:
        with suppress(ProcessLookupError):
            await _restart(scene, name)
        await scene.wait_ready(BACK_S)


async def _restart(scene: Scene, name: str) -> None:
    """Ask a process to end, and wait for the next. Raises `ProcessLookupError` while it is down."""
    old = scene.pid(name)
    scene.on_step(name, True)  # noqa: FBT003 - it begins
    try:
        os.kill(old, signal.SIGTERM)
        await _replaced(scene, name, old)
    finally:
        scene.on_step(name, False)  # noqa: FBT003 - it is over


async def _replaced(scene: Scene, name: str, old: int) -> None:
    async with asyncio.timeout(BACK_S):
        while True:
            with suppress(ProcessLookupError):
                if scene.pid(name) != old:
                    return
            await asyncio.sleep(LOOK_S)
