"""A service's life: what ends it, and that its shutdown is ordered and bounded."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

import pytest
from chatcore.errors import ConfigurationError
from chatcore.lifecycle import EXIT_CONFIGURATION, EXIT_FAILED, Step, Supervisor, ended, run, serve
from chatcore.settings import ServiceSettings

FOREVER_S = 3_600.0
Act = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """A step that has nothing to do."""


async def hang() -> None:
    await asyncio.sleep(FOREVER_S)


async def fail() -> None:
    raise ValueError("broken")


class Service:
    """A service whose start and steps a test gives; it writes down what happens."""

    def __init__(self, start: Callable[[Supervisor], Awaitable[None]], *steps: Step) -> None:
        self._start, self._steps = start, steps
        self.happened: list[str] = []

    async def start(self, supervisor: Supervisor) -> None:
        await self._start(supervisor)
        self.happened.append("started")

    def shutdown(self) -> Sequence[Step]:
        return [Step(step.name, self._noting(step), step.within_s) for step in self._steps]

    def _noting(self, step: Step) -> Act:
        async def act() -> None:
            self.happened.append(step.name)
            await step.run()

        return act


async def idle(supervisor: Supervisor) -> None:
    supervisor.spawn("idle", hang())


@pytest.fixture(autouse=True)
async def _handlers() -> AsyncIterator[None]:
    yield
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def stop_soon(service: Service) -> None:
    while "started" not in service.happened:
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)


async def live(service: Service, shutdown_s: float = 20.0) -> int:
    stopper = asyncio.create_task(stop_soon(service))
    code = await asyncio.wait_for(serve(service, shutdown_s=shutdown_s), 30)
    await stopper
    return code


async def test_a_signal_ends_a_service_with_0_after_its_steps_in_order() -> None:
    service = Service(idle, Step("drain", nothing), Step("flush", nothing), Step("close", nothing))
    assert await live(service) == 0
    assert service.happened == ["started", "drain", "flush", "close"]


async def test_a_step_that_fails_or_hangs_keeps_no_other_from_running() -> None:
    service = Service(idle, Step("fails", fail), Step("hangs", hang, within_s=0.01), Step("last", nothing))
    assert await live(service) == 0
    assert service.happened == ["started", "fails", "hangs", "last"]


async def test_the_whole_shutdown_has_a_deadline() -> None:
    service = Service(idle, Step("hangs", hang, within_s=FOREVER_S), Step("never", nothing))
    assert await live(service, shutdown_s=0.05) == 0
    assert service.happened == ["started", "hangs"]


@pytest.mark.parametrize("work", [fail, nothing])
async def test_a_task_that_ends_by_itself_stops_the_service_with_1(work: Act) -> None:
    async def start(supervisor: Supervisor) -> None:
        supervisor.spawn("dies", _coroutine(work))
        supervisor.spawn("idle", hang())

    service = Service(start, Step("close", nothing))
    assert await asyncio.wait_for(serve(service, shutdown_s=20), 30) == EXIT_FAILED
    assert service.happened == ["started", "close"]


async def _coroutine(work: Act) -> None:
    await work()


async def test_a_start_that_fails_is_cleaned_up_after_and_raises_its_reason() -> None:
    async def start(_: Supervisor) -> None:
        raise ConfigurationError("no such port")

    service = Service(start, Step("close", nothing))
    with pytest.raises(ConfigurationError):
        await serve(service, shutdown_s=20)
    assert service.happened == ["close"]


async def test_a_signal_during_a_start_that_hangs_ends_the_service() -> None:
    entered = asyncio.Event()

    async def start(_: Supervisor) -> None:
        entered.set()
        await hang()

    service = Service(start, Step("close", nothing))
    living = asyncio.create_task(serve(service, shutdown_s=20))
    await entered.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(living, 30) == 0
    assert service.happened == ["close"]


async def test_a_stopped_task_is_no_failure() -> None:
    supervisor = Supervisor()
    task = supervisor.spawn("reader", hang())
    await supervisor.stop("reader")
    await supervisor.stop("reader", "unknown")
    assert task.cancelled()
    failure = asyncio.create_task(supervisor.failure())
    other = supervisor.spawn("other", fail())
    assert isinstance(await asyncio.wait_for(failure, 20), ValueError)
    assert other.done()


async def test_a_task_that_was_cancelled_by_nobody_knows_whom_is_a_failure() -> None:
    supervisor = Supervisor()
    supervisor.spawn("reader", hang()).cancel()
    assert "reader" in str(await asyncio.wait_for(supervisor.failure(), 20))


async def test_stopping_all_leaves_no_task_behind() -> None:
    supervisor = Supervisor()
    tasks = [supervisor.spawn(name, hang()) for name in "abc"]
    supervisor.close()
    await supervisor.stop()
    assert all(task.done() for task in tasks)


async def test_a_task_whose_cancellation_wait_for_took_for_its_result_is_stopped_all_the_same() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    went_on = False

    async def reads() -> None:
        nonlocal went_on
        await asyncio.wait_for(answer, FOREVER_S)
        went_on = True
        await hang()

    supervisor = Supervisor()
    task = supervisor.spawn("reader", reads())
    await asyncio.sleep(0)
    supervisor.close()
    answer.set_result(None)  # just as the cancellation comes
    await asyncio.wait_for(supervisor.stop(), 20)
    assert went_on == (sys.version_info < (3, 12)), "an older wait_for loses the cancellation"
    assert task.cancelled()


async def test_a_task_is_cancelled_until_it_ends() -> None:
    lost = 0

    async def loses_three() -> None:
        nonlocal lost
        while lost < 3:
            with suppress(asyncio.CancelledError):
                await hang()
            lost += 1
        await hang()

    task = asyncio.create_task(loses_three())
    await asyncio.sleep(0)
    await ended([task], again_s=0.01)
    assert lost == 3
    assert task.cancelled()


async def test_what_an_ended_task_raised_is_dropped() -> None:
    task = asyncio.create_task(_coroutine(fail))
    await asyncio.sleep(0)
    await ended([task])
    assert isinstance(task.exception(), ValueError)


async def test_a_task_that_never_ends_keeps_no_shutdown_beyond_its_deadline() -> None:
    enough = asyncio.Event()

    async def stays() -> None:
        while not enough.is_set():
            with suppress(asyncio.CancelledError):
                await enough.wait()

    stubborn: list[asyncio.Task[None]] = []

    async def start(supervisor: Supervisor) -> None:
        stubborn.append(supervisor.spawn("stubborn", stays()))

    service = Service(start, Step("close", nothing))
    assert await live(service, shutdown_s=0.05) == 0
    assert not stubborn[0].done()
    enough.set()
    await stubborn[0]


def test_a_setting_at_fault_is_one_line_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_LOG_LEVEL", "loud")
    assert run("gateway", ServiceSettings, lambda _: Service(idle)) == EXIT_CONFIGURATION
    told = capsys.readouterr().err
    assert told.startswith("gateway: CHAT_LOG_LEVEL")
    assert told.count("\n") == 1


def test_a_file_of_authorities_that_is_missing_is_one_line_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_REDIS_URL", "rediss://redis.example:6379/0")
    monkeypatch.setenv("CHAT_REDIS_TLS_CA", "/nowhere/ca.pem")
    assert run("gateway", ServiceSettings, lambda _: Service(idle)) == EXIT_CONFIGURATION
    told = capsys.readouterr().err
    assert told.startswith("gateway: CHAT_REDIS_TLS_CA: ")
    assert told.count("\n") == 1
