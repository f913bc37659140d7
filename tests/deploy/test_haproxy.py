"""HAProxy before two gateways: it spreads clients, moves them when a gateway leaves, and leaves silent ones alone."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from chatctl.verify.connection import RawConnection

from tests.conftest import MakeStack
from tests.deploy.balancer import CONFIGURATION, Gateway, balanced
from tests.deploy.talk import a_whole_chat
from tests.harness.cast import Cast
from tests.harness.stack import Stack

CLIENTS: Final = 8
DRAINED_S: Final = 60.0


def _gateways(stack: Stack) -> dict[str, Gateway]:
    return {
        one.name: Gateway(urlsplit(one.url).port or 0, urlsplit(one.metrics_url).port or 0)
        for one in stack.processes()
        if one.url is not None and one.metrics_url is not None
    }


@pytest.fixture
async def url(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """HAProxy's URL before the gateways of the stack that nobody breaks."""
    async with balanced(tmp_path, _gateways(stack)) as address:
        yield address


async def _connect(cast: Cast, url: str, name: str) -> tuple[RawConnection, str]:
    """Connect through HAProxy; gives the gateway that took it, too."""
    connection = await cast.connect_to(url, cast.user(name))
    welcome: dict[str, Any] = dict(await connection.expect("welcome"))
    await connection.sync()
    return connection, str(welcome["gateway"])


async def test_people_chat_through_haproxy(url: str, stack: Stack) -> None:
    await a_whole_chat([url], [url], jwt=stack.file.jwt)


async def test_new_clients_go_to_the_gateway_that_has_the_fewest(url: str, stack: Stack) -> None:
    async with Cast(stack) as cast:
        found = [(await _connect(cast, url, f"one{number}"))[1] for number in range(CLIENTS)]
    assert sorted(Counter(found).values()) == [CLIENTS // 2, CLIENTS // 2]


@pytest.mark.slow
async def test_a_silent_websocket_outlives_every_time_out_by_the_gateways_pings(url: str, stack: Stack) -> None:
    times = [int(found) for found in re.findall(r"timeout \S+ (\d+)s", CONFIGURATION.read_text())]
    async with Cast(stack) as cast:
        connection, _ = await _connect(cast, url, "alice")
        with pytest.raises(TimeoutError):
            await connection.receive(timeout_s=max(times) + 10)
        await connection.send({"type": "send", "id": "late", "to": cast.user("bob"), "body": "still here"})
        await connection.expect("sent", id="late")


async def test_when_a_gateway_drains_its_clients_move_to_the_other_and_none_is_refused(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    stack = await make_stack(environment={"CHAT_PRESTOP_S": "3", "CHAT_SHUTDOWN_S": "20"})
    async with balanced(tmp_path, _gateways(stack)) as url, Cast(stack) as cast:
        there = [await _connect(cast, url, f"one{number}") for number in range(CLIENTS)]
        leaving = next(gateway for _, gateway in there if gateway.startswith("gateway-1"))
        stack.signal("gateway-1", signal.SIGTERM)
        moved = [connection for connection, gateway in there if gateway == leaving]
        assert await asyncio.gather(*(_moved(one) for one in moved)) == [1012] * len(moved)
        again = [await _connect(cast, url, f"again{number}") for number in range(CLIENTS)]
        assert leaving not in {gateway for _, gateway in again}
        stayed = [connection for connection, gateway in there if gateway != leaving]
        for number, connection in enumerate([*stayed, *(connection for connection, _ in again)]):
            await connection.send({"type": "send", "id": f"m{number}", "to": cast.user("bob"), "body": "hi"})
            await connection.expect("sent", id=f"m{number}")


async def _moved(connection: RawConnection) -> int:
    await connection.expect("goaway", reason="draining", timeout_s=DRAINED_S)
    return await connection.expect_closed(timeout_s=DRAINED_S)
