"""The local stack itself: what it promises to people and to the tools that break it through `stack.json`."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import pytest
from chatctl.stack import stack_file, strays
from chatctl.stack.supervisor import is_locked

from tests.harness.stack import Stack

MakeStack = Callable[..., Awaitable[Stack]]
DEADLINE_S = 60.0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.05)


def chatctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chatctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def pid_of(stack: Stack, name: str) -> int | None:
    return next(process.pid for process in stack.processes() if process.name == name)


async def stored(stack: Stack) -> int:
    async with stack.mysql() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT COUNT(*) FROM partition_owner")
        (rows,) = await cursor.fetchone()
        return int(rows)


async def test_whatever_is_killed_comes_back_at_its_old_address(make_stack: MakeStack) -> None:
    stack = await make_stack(gateways=1, workers=1)
    for process in stack.processes():
        os.kill(process.pid or 0, signal.SIGKILL)
        await until(lambda killed=process: pid_of(stack, killed.name) not in (None, killed.pid))  # type: ignore[misc]  # mypy infers no lambda with a default
        after = next(now for now in stack.processes() if now.name == process.name)
        assert (after.url, after.metrics_url, after.role) == (process.url, process.metrics_url, process.role)
    await stack.wait_ready(DEADLINE_S)


async def test_a_killed_supervisor_leaves_nobody_behind_and_loses_no_data(make_stack: MakeStack) -> None:
    stack = await make_stack(gateways=1, workers=1)
    before, rows = stack.file, await stored(stack)
    os.kill(int((stack.folder / "supervisor.pid").read_text()), signal.SIGKILL)
    await until(lambda: not strays.find(stack.folder))
    again = await asyncio.to_thread(
        chatctl, "up", "--detach", "--port=0", "--gateways=1", "--workers=1", f"--dir={stack.folder}"
    )
    assert again.returncode == 0, again.stderr
    assert await stored(stack) == rows > 0
    assert stack.file.jwt == before.jwt, "tokens from before still serve"


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


async def test_a_stack_ends_with_its_owner(
    tmp_path_factory: pytest.TempPathFactory, owner: subprocess.Popen[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("owned")
    counts = ("--gateways=1", "--workers=1")
    try:
        done = await asyncio.to_thread(
            chatctl, "up", "--detach", "--port=0", f"--dir={folder}", f"--owner={owner.pid}", *counts
        )
        assert done.returncode == 0, done.stderr
        owner.kill()
        await until(lambda: not is_locked(folder))
        assert strays.find(folder) == []
    finally:
        await asyncio.to_thread(chatctl, "down", f"--dir={folder}")


async def test_down_ends_all_and_says_so_in_the_description(make_stack: MakeStack) -> None:
    stack = await make_stack(gateways=1, workers=1)
    done = await asyncio.to_thread(chatctl, "down", f"--dir={stack.folder}")
    assert done.returncode == 0
    assert strays.find(stack.folder) == []
    left = stack_file.read(stack.folder)
    assert left is not None
    assert not left.is_up()


async def test_a_second_up_finds_the_first_and_changes_nothing(stack: Stack) -> None:
    before = stack.processes()
    again = await asyncio.to_thread(chatctl, "up", "--detach", f"--dir={stack.folder}")
    assert (again.returncode, stack.processes()) == (0, before)
    assert all(url in again.stdout for url in stack.gateways())
    assert f"`./dev down --dir={stack.folder}`" in again.stdout


async def test_a_start_that_fails_names_the_step_and_its_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("failing")
    arguments = ("up", "--detach", "--port=0", f"--dir={folder}", "--set=CHAT_LOG_LEVEL=loud")
    done = await asyncio.to_thread(chatctl, *arguments)
    assert done.returncode == 1
    assert "ended with 2 before it was ready" in done.stderr
    assert "CHAT_LOG_LEVEL" in done.stderr
    assert str(folder / "logs") in done.stderr
    assert strays.find(folder) == []


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["attached", "detached"])
async def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, detach: tuple[str, ...]
) -> None:
    file = tmp_path_factory.mktemp("folder") / "file"
    file.touch()
    done = await asyncio.to_thread(chatctl, "up", *detach, f"--dir={file / 'inside'}")
    assert done.returncode == 1
    assert str(file / "inside") in done.stderr
    assert "--dir" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_command_without_a_stack_says_how_to_start_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    done = await asyncio.to_thread(chatctl, "token", "alice", f"--dir={tmp_path_factory.mktemp('none')}")
    assert done.returncode == 1
    assert "./dev up" in done.stderr
