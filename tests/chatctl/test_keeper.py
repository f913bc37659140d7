"""Processes of a stack, with small scripts in their place."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from chatctl.stack import logs, strays
from chatctl.stack.keeper import Keeper
from chatctl.stack.program import STACK_MARK, Program

DEADLINE_S = 20.0
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


def program(code: str, *, stop_s: float = 10.0) -> Program:
    command = (sys.executable, "-c", code)
    return Program(name="script", role="worker", command=command, environment={}, stop_s=stop_s)


@asynccontextmanager
async def kept(
    made: Program, stack: Path
) -> AsyncIterator[tuple[Keeper, Callable[[Callable[[], bool]], Awaitable[None]]]]:
    changes = asyncio.Condition()
    notifying: set[asyncio.Task[None]] = set()

    async def notify() -> None:
        async with changes:
            changes.notify_all()

    def changed() -> None:
        task = asyncio.create_task(notify())
        notifying.add(task)
        task.add_done_callback(notifying.discard)

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), changes:
            await changes.wait_for(holds)

    keeper = Keeper(made, stack=stack, changed=changed)
    running = asyncio.create_task(keeper.run())
    try:
        yield keeper, until
    finally:
        await keeper.stop()
        await running


async def said(stack: Path) -> None:
    """Wait until the script is past its start, as its log tells."""
    async with asyncio.timeout(DEADLINE_S):
        while not logs.path_of(stack, "script").exists() or not logs.path_of(stack, "script").stat().st_size:
            await asyncio.sleep(0.02)


async def test_a_killed_process_is_started_again_under_another_id(tmp_path: Path) -> None:
    async with kept(program(SLEEPER), tmp_path) as (keeper, until):
        await until(lambda: keeper.pid is not None)
        first = keeper.pid or 0
        os.kill(first, signal.SIGKILL)
        await until(lambda: keeper.pid not in (None, first))
        assert keeper.ended_with == -signal.SIGKILL


async def test_a_process_that_ends_at_every_start_keeps_being_started(tmp_path: Path) -> None:
    async with kept(program("raise SystemExit(3)"), tmp_path) as (keeper, until):
        ids: set[int] = set()
        while len(ids) < 3:
            await until(lambda: keeper.pid not in ids | {None})
            ids.add(keeper.pid or 0)
        assert keeper.ended_with == 3


async def test_a_process_that_heeds_no_sigterm_is_killed_at_its_deadline(tmp_path: Path) -> None:
    async with kept(program(DEAF, stop_s=0.2), tmp_path) as (keeper, until):
        await until(lambda: keeper.pid is not None)
        await said(tmp_path)
        await keeper.stop()
        await until(lambda: keeper.pid is None)
        assert keeper.ended_with == -signal.SIGKILL


async def test_a_stopped_process_ends_by_its_sigterm(tmp_path: Path) -> None:
    async with kept(program(SLEEPER), tmp_path) as (keeper, until):
        await until(lambda: keeper.pid is not None)
        await said(tmp_path)
        os.kill(keeper.pid or 0, signal.SIGSTOP)
        await keeper.stop()
        await until(lambda: keeper.pid is None)
        assert keeper.ended_with == -signal.SIGTERM


@pytest.fixture
def marked(tmp_path: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, STACK_MARK: str(tmp_path)}
    return subprocess.Popen([sys.executable, "-c", SLEEPER], env=environment, stdout=subprocess.PIPE)


def test_strays_of_this_stack_are_ended_and_nobody_else(tmp_path: Path, marked: subprocess.Popen[bytes]) -> None:
    with marked:
        assert marked.stdout is not None
        marked.stdout.readline()  # before it, the process may not have its own environment yet
        assert strays.end(tmp_path / "other") == 0
        assert marked.poll() is None
        assert strays.end(tmp_path) == 1
        assert marked.wait(DEADLINE_S) == -signal.SIGKILL
    assert strays.find(tmp_path) == []


def test_a_log_that_grew_too_large_is_emptied_while_its_writer_goes_on(tmp_path: Path) -> None:
    writer = logs.open_log(tmp_path, "script")
    try:
        os.write(writer, b"x" * (logs.MAX_LOG_BYTES + 1))
        logs.bound(logs.path_of(tmp_path, "script"))
        os.write(writer, b"after\n")
    finally:
        os.close(writer)
    assert logs.path_of(tmp_path, "script").read_bytes() == b"after\n"
    assert (logs.folder_in(tmp_path) / "script.log.1").stat().st_size == logs.MAX_LOG_BYTES + 1
