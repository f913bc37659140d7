"""Owns a service's life: start, supervision of its tasks, and one ordered shutdown with a deadline.

It must never swallow a task's failure: a long-lived task that ends, ends the service, and the log says why.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import uvloop

from chatcore.errors import ConfigurationError
from chatcore.logs import configure_logs, get_logger
from chatcore.settings import S, ServiceSettings, read_settings
from chatcore.tls import trusting

EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2
STEP_S: Final = 5.0
"""Seconds for a shutdown step that names no bound of its own, within the whole's deadline."""
AGAIN_S: Final = 1.0
"""Seconds for a cancelled task to clean up before it is cancelled again: longer than any of ours takes, and short
enough for several tries within a step."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a shutdown. It may fail or hang: it is given up after `within_s`, and the next one runs."""

    name: str
    run: Callable[[], Awaitable[None]]
    within_s: float = STEP_S


class Supervisor:
    """Holds the long-lived tasks of a service. None may end before it is stopped."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._closing = False

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that lives until it is stopped. Names are unique."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)
        return task

    async def failure(self) -> BaseException:
        """Wait until a task ends by itself, and give the reason."""
        return await asyncio.shield(self._failed)

    @property
    def failed(self) -> bool:
        """Whether a task ended by itself."""
        return self._failed.done()

    def close(self) -> None:
        """From now on a task that ends has done what it was asked for."""
        self._closing = True

    async def stop(self, *names: str) -> None:
        """Cancel the named tasks, or all, and wait until they are gone. Safe to repeat; as long as its caller waits."""
        tasks = [self._tasks.pop(name) for name in (names or tuple(self._tasks)) if name in self._tasks]
        await ended(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._closing or self._failed.done() or self._tasks.get(task.get_name()) is not task:
            return
        error = None if task.cancelled() else task.exception()
        log.error("task_ended", task=task.get_name(), exc_info=error)
        self._failed.set_result(error or RuntimeError(f"task {task.get_name()} ended"))


async def ended(tasks: Collection["asyncio.Task[None]"], *, again_s: float = AGAIN_S) -> None:
    """Cancel tasks until all have ended; what they raise is dropped. Who waits bounds it, and may be cancelled.

    Once may be too little: redis-py writes under `asyncio.wait_for`, which on Python 3.11 gives its result instead when
    the cancellation comes just as that is there, and the task goes on for ever.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=again_s)
    await asyncio.gather(*tasks, return_exceptions=True)


class App(Protocol):
    """A service as its composition root made it."""

    async def start(self, supervisor: Supervisor) -> None:
        """Connect, spawn the tasks, serve. Raises `ConfigurationError` where a person must act."""

    def shutdown(self) -> Sequence[Step]:
        """Name the steps of an ordered shutdown. They also run after a failed start, so each must be repeatable."""


async def serve(app: App, *, shutdown_s: float) -> int:
    """Run an app until SIGTERM or SIGINT (exit code 0) or until a task of it fails (1)."""
    supervisor, stopped = Supervisor(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    code = EXIT_FAILED
    try:
        await _until(stopped, app.start(supervisor))
        if not stopped.is_set():
            log.info("started")
            await _until(stopped, supervisor.failure())
        code = 0 if stopped.is_set() else EXIT_FAILED
    finally:
        await _shut_down(app, supervisor, shutdown_s)
    return code


async def _until(stopped: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Wait for `work` or a signal, whichever is first. Raises what `work` raises."""
    tasks = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _shut_down(app: App, supervisor: Supervisor, shutdown_s: float) -> None:
    log.info("stopping")
    supervisor.close()
    try:
        async with asyncio.timeout(shutdown_s):
            for step in app.shutdown():
                await _take(step)
            await supervisor.stop()
    except TimeoutError:
        log.warning("shutdown_deadline_passed", shutdown_s=shutdown_s)
    log.info("stopped")


async def _take(step: Step) -> None:
    try:
        async with asyncio.timeout(step.within_s):
            await step.run()
    except TimeoutError:
        log.warning("shutdown_step_timed_out", step=step.name, within_s=step.within_s)
    except Exception as error:  # one step that fails must not keep the others from running
        log.warning("shutdown_step_failed", step=step.name, exc_info=error)


def run(service: str, settings: type[S], compose: Callable[[S], App]) -> int:
    """Be a service's `main`: read its settings, make it, run it, and give the process's exit code.

    0: stopped by a signal. 1: a task failed. 2: the configuration is at fault, and standard error names it.
    """
    try:
        values = read_settings(settings)
        return uvloop.run(_run(service, values, compose))
    except ConfigurationError as error:
        print(f"{service}: {error}", file=sys.stderr)  # noqa: T201 - before or beside the log, for a person
        return EXIT_CONFIGURATION


async def _run(service: str, settings: S, compose: Callable[[S], App]) -> int:
    assert isinstance(settings, ServiceSettings)  # noqa: S101 - narrows the type variable for mypy
    if settings.redis_tls_ca is not None:
        # The client of Redis reads the file at each connect, and takes one that is missing for a Redis that is down.
        trusting(settings.redis_tls_ca, variable="CHAT_REDIS_TLS_CA")
    configure_logs(settings, service)
    return await serve(compose(settings), shutdown_s=settings.shutdown_s)
