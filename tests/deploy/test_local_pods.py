"""The development's overlay, run from its manifests without a cluster: it migrates, gets ready, and people chat.

What no schema can tell is seen here: that the accounts, passwords and variables fit each other and the services.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from chatclient import Message, Receipt, connect
from chatctl.stack.executables import find
from chatctl.stack.stack_file import JwtSettings
from chatctl.tokens import sign

from tests.conftest import DatabaseServer
from tests.deploy.conftest import overlay
from tests.deploy.local_pods import START_S, LocalPods, deployed
from tests.deploy.manifests import ROOT
from tests.deploy.policies.stores import decoded
from tests.observability.prometheus import tool

WATCHED = "".join(
    path.read_text(encoding="utf-8")
    for pattern in ("prometheus/rules/*.yml", "grafana/dashboards/*.json")
    for path in (ROOT / "deploy" / "observability").glob(pattern)
)


@pytest.fixture(scope="module")  # not longer: the accounts have the same names in other tests of the same server
async def pods(tmp_path_factory: pytest.TempPathFactory, database_server: DatabaseServer) -> AsyncIterator[LocalPods]:
    """The overlay's stores, migrated by its job while its workers wait for that."""
    mysql = await database_server("mariadb")
    async with deployed(overlay("dev"), Path(tmp_path_factory.mktemp("pods")), mysql) as one:
        worker, job = (one.manifests.workload(part) for part in ("delivery-worker", "migrations"))
        [waiting, _] = worker.containers()
        await asyncio.gather(one.run(waiting), one.run(job.main))
        yield one


async def test_the_overlay_gets_ready_and_people_chat_and_chatctl_looks_at_it_under_its_own_accounts(
    pods: LocalPods,
) -> None:
    await pods.serve(pods.manifests.workload("delivery-worker").main)
    await pods.serve(pods.manifests.workload("presence").main)
    gateway = await pods.serve(pods.manifests.workload("gateway").main)
    url = f"ws://127.0.0.1:{gateway['ws']}"
    jwt = JwtSettings(secret=decoded(pods.manifests, "chat-jwt")["secret"], audience="chat", issuer="chat")
    async with (
        asyncio.timeout(START_S),
        connect(url, sign(jwt, "alice"), device="phone") as alice,
        connect(url, sign(jwt, "bob"), device="desk") as bob,
    ):
        await bob.synced()
        await alice.send("bob", "hello")
        async for event in bob:
            if isinstance(event, Message):
                assert event.body == "hello"
                break
        async for event in alice:
            if isinstance(event, Receipt) and event.delivered == 1:
                break
    for command in ("check", "backlog", "partitions", "owners", "who alice", "dead list", "explain alice bob 1"):
        await pods.run(pods.manifests.workload("chatctl").main, *command.split())


async def test_redis_exporters_account_reads_all_that_dashboards_and_rules_ask_for(pods: LocalPods) -> None:
    password = decoded(pods.manifests, "chat-redis")["exporter"]
    address = f"redis://127.0.0.1:{pods.redis_port}/0"
    told = {"REDIS_ADDR": address, "REDIS_USER": "exporter", "REDIS_PASSWORD": password}
    text = await exported(pods, "prometheus-redis-exporter", "-web.listen-address", told)
    assert "redis_up 1" in text
    assert missing("redis", text) == set()


async def test_mysqld_exporters_account_reads_all_that_dashboards_and_rules_ask_for(pods: LocalPods) -> None:
    password = decoded(pods.manifests, "chat-mysql")["exporter"]
    source = f"chat_exporter:{password}@({pods.mysql.host}:{pods.mysql.port})/"
    text = await exported(pods, "prometheus-mysqld-exporter", "--web.listen-address", {"DATA_SOURCE_NAME": source})
    assert "mysql_up 1" in text
    assert missing("mysql", text) == set()


@pytest.mark.parametrize("part", ["redis", "mysql"])
async def test_a_store_is_asked_for_its_life_without_a_password(pods: LocalPods, part: str) -> None:
    container = pods.manifests.workload(part).main.body
    for probe in ("startupProbe", "readinessProbe"):
        command, *arguments = container[probe]["exec"]["command"]
        # Both take options before what they are to do.
        here = ("-p", str(pods.redis_port)) if part == "redis" else (f"--port={pods.mysql.port}",)
        process = await asyncio.create_subprocess_exec(find(command, package=f"{part}-client"), *here, *arguments)
        assert await process.wait() == 0


async def exported(pods: LocalPods, name: str, option: str, told: dict[str, str]) -> str:
    """Run an exporter of the distribution; gives what it exports."""
    port = await pods.serve_program(name, lambda port: (tool(name), f"{option}=127.0.0.1:{port}"), told)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


def missing(store: str, text: str) -> set[str]:
    """Give the metrics of a store that are asked for and not exported."""
    asked = set(re.findall(rf"\b{store}_[a-z_]+", WATCHED))
    return asked - set(re.findall(rf"^({store}_[a-z_]+)", text, flags=re.MULTILINE))
