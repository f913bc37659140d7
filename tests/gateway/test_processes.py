"""Several gateways behind one port: they share it, leave together, and one that dies ends them all."""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from chatcore.errors import Close, ConfigurationError
from gateway.processes import PARENT_S, Processes, asked, environments
from gateway.settings import GatewaySettings

from tests.gateway.client import Client, connect
from tests.gateway.conftest import Start
from tests.gateway.waiting import until
from tests.gateway.worker import Worker
from tests.harness.system import free_port

END_S = 20.0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_row(count: int) -> int:
    """Give the first of some ports in a row that nobody listens on."""
    while True:
        first = free_port()
        with suppress(OSError), ExitStack() as probes:
            for port in range(first, first + count):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


class Several:
    """A parent and its gateways, ready."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int) -> None:
        self.process, self.port, self.metrics_port = process, port, metrics_port
        self.pids: list[int] = []

    @classmethod
    async def begin(cls, start: Start, count: int = 2) -> "Several":
        port, metrics_port = free_port(), free_row(count)
        one = cls(
            await start(
                *("--processes", str(count)),
                CHAT_NAME="gw",
                CHAT_PORT=str(port),
                CHAT_METRICS_PORT=str(metrics_port),
                CHAT_SHUTDOWN_S="9",
            ),
            port,
            metrics_port,
        )
        for place in range(count):
            await until(partial(one.ready, metrics_port + place), within_s=20.0)
        one.pids = children(one.process.pid)
        return one

    async def ready(self, port: int) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def log(self) -> str:
        """Wait for its end, and give what it and its gateways wrote."""
        async with asyncio.timeout(END_S):
            _, log = await self.process.communicate()
        return log.decode()


async def test_gateways_share_a_port_and_leave_together_at_sigterm(start: Start, worker: Worker, redis: object) -> None:
    several = await Several.begin(start)
    async with AsyncExitStack() as clients:
        met: dict[str, Client] = {}
        # The kernel chooses by the client's port: after 64 of them, one in 2^63 runs has met a single gateway.
        for number in range(64):
            client = await connect(several.port, f"u{number}")
            clients.push_async_exit(client)
            met.setdefault(client.welcome["gateway"], client)
            if len(met) == 2:
                break
        assert set(met) == {"gw-1", "gw-2"}
        several.process.terminate()
        for client in met.values():
            await client.until("goaway")
        closed = await asyncio.gather(*(client.closed() for client in met.values()))
        assert closed == [Close.DRAINING, Close.DRAINING]
    log = await several.log()
    assert several.process.returncode == 0, log


async def test_a_gateway_that_is_killed_ends_its_parent_which_stops_the_others_in_order(
    start: Start, worker: Worker
) -> None:
    several = await Several.begin(start)
    os.kill(several.pids[0], signal.SIGKILL)
    log = await several.log()
    assert several.process.returncode == 1, log
    assert "ended with -9" in log
    assert log.count('"stopped"') == 2, "the other gateway, and the parent"


async def test_a_gateway_that_is_drained_by_hand_leaves_the_others_and_the_last_one_ends_the_parent_with_0(
    start: Start, worker: Worker
) -> None:
    several = await Several.begin(start)
    first, second = several.pids
    os.kill(first, signal.SIGTERM)
    await until(lambda: children(several.process.pid) == [second])
    client = await connect(several.port, "alice")
    await client.__aexit__(None, None, None)
    os.kill(second, signal.SIGTERM)
    log = await several.log()
    assert several.process.returncode == 0, log


async def test_gateways_leave_in_order_when_their_parent_is_killed(start: Start, worker: Worker) -> None:
    several = await Several.begin(start)
    several.process.kill()
    log = await several.log()
    assert log.count('"stopped"') == 2, log


@pytest.mark.parametrize(("words", "count"), [([], 1), (["--processes", "1"], 1), (["--processes=8"], 8)])
def test_the_command_line_says_how_many(words: list[str], count: int) -> None:
    assert asked(words) == count


@pytest.mark.parametrize("words", [["--processes", "0"], ["--processes", "x"], ["--processes=65"], ["more"]])
def test_a_command_line_at_fault_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        asked(words)


def test_each_has_a_name_and_a_metrics_port_of_its_own_and_less_time_than_its_parent() -> None:
    made = environments(GatewaySettings(name="g" * 40, metrics_port=9_000, shutdown_s=25.0), 3)
    assert list(made) == [f"{'g' * 37}-{number}" for number in (1, 2, 3)]
    assert [int(one["CHAT_METRICS_PORT"]) for one in made.values()] == [9_000, 9_001, 9_002]
    assert {float(one["CHAT_SHUTDOWN_S"]) for one in made.values()} == {25.0 - PARENT_S}
    chosen: Mapping[str, str] = environments(GatewaySettings(metrics_port=0), 2)["local-2"]
    assert chosen["CHAT_METRICS_PORT"] == "0"


@pytest.mark.parametrize(("settings", "named"), [({"port": 0}, "CHAT_PORT"), ({"shutdown_s": 6.5}, "CHAT_SHUTDOWN_S")])
def test_what_several_processes_cannot_keep_is_named(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Processes(GatewaySettings.model_validate(settings), count=2)
