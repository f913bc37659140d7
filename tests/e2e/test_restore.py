"""A database that was restored from a backup: its clients learn it, and what they have not sent goes out again."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

from chatclient import SqliteState, connect
from chatctl.stack.executables import find
from chatctl.stack.stack_file import MysqlAddress

from tests.conftest import MakeStack
from tests.harness.command import chatctl
from tests.harness.stack import Stack

STORES_ALONE = ("--gateways=0", "--workers=0", "--presence=0")


def _client(program: str, address: MysqlAddress, *options: str) -> list[str]:
    path = find(program, package="mariadb-client")
    return [path, f"--socket={address.socket}", f"--user={address.user}", *options, address.database]


def _dump(address: MysqlAddress) -> bytes:
    command = _client("mariadb-dump", address, "--single-transaction")
    return subprocess.run(command, env=_with_password(address), capture_output=True, check=True).stdout


def _restore(address: MysqlAddress, dump: bytes) -> None:
    subprocess.run(_client("mariadb", address), env=_with_password(address), input=dump, check=True)


def _with_password(address: MysqlAddress) -> dict[str, str]:
    return {**os.environ, "MYSQL_PWD": address.password}


async def _up(stack: Stack, *options: str) -> None:
    folder = f"--dir={stack.folder}"
    assert (await chatctl("up", "--detach", folder, "--port=0", f"--owner={os.getpid()}", *options)).code == 0


async def _send(stack: Stack, state: Path, bodies: list[str]) -> list[int]:
    """Send as alice's phone, whose state outlives the restore; gives the numbers."""
    chat = connect(stack.gateways(), stack.token("alice"), device="phone", state=SqliteState(state))
    async with asyncio.timeout(60), chat:
        return [(await chat.send("bob", body)).seq for body in bodies]


async def _log(stack: Stack) -> list[str]:
    chat = connect(stack.gateways(), stack.token("bob"), device="desk")
    async with asyncio.timeout(60), chat:
        return [message.body for message in (await chat.history("alice", after=0)).messages]


async def test_after_a_restore_and_a_new_epoch_every_client_starts_again_from_what_there_is(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    stack = await make_stack(gateways=1, workers=1)
    assert await _send(stack, tmp_path / "alice", ["one", "two", "three"]) == [1, 2, 3]
    backup = await asyncio.to_thread(_dump, stack.file.mysql)
    assert await _send(stack, tmp_path / "alice", ["four", "five"]) == [4, 5]

    await stack.stop()
    await _up(stack, *STORES_ALONE)
    await asyncio.to_thread(_restore, stack.file.mysql, backup)
    renewed = await chatctl("epoch", "new", "--json", f"--dir={stack.folder}")
    assert renewed.code == 0, renewed.err
    assert re.fullmatch(r"[0-9a-f]{16}", renewed.json()["epoch"])
    await stack.stop()

    await _up(stack, "--gateways=1", "--workers=1")
    assert await _log(stack) == ["one", "two", "three"]
    assert await _send(stack, tmp_path / "alice", ["six"]) == [4]
    assert await _log(stack) == ["one", "two", "three", "six"]
    assert (await chatctl("check", f"--dir={stack.folder}")).code == 0
