"""Services and stores that speak TLS with each other: verified by the test's own authority, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chatcore.errors import ConfigurationError
from chatctl.stack import ports, services
from chatctl.stack.program import Program
from delivery_worker.schema import check_schema
from delivery_worker.settings import MySQLSettings
from delivery_worker.store.wire import open_wire

from tests.deploy.talk import a_whole_chat
from tests.harness.authority import Authority
from tests.harness.command import chatctl
from tests.harness.encrypted import EncryptedSystem, database, described, encrypted_system

UNTRUSTED = pytest.mark.parametrize("fault", ["another authority", "another name"])


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EncryptedSystem]:
    """Stores that speak TLS alone, with a schema: migrations came over TLS too."""
    async with encrypted_system(Path(tmp_path_factory.mktemp("encrypted"))) as made:
        migration = services.migration(made.stack)
        assert await made.run(migration, made.variables()) == 0, made.log(migration)
        yield made


def gateway(system: EncryptedSystem, number: int) -> Program:
    port, metrics_port = ports.private(2)
    return services.gateway(system.stack, number, port=port, metrics_port=metrics_port)


def told_of(fault: str, system: EncryptedSystem, folder: Path) -> dict[str, str]:
    """Give variables under which a service must not take the stores for its own."""
    if fault == "another name":
        return system.variables(host="localhost")
    return system.variables(authority=Authority.found(folder, "another").certificate)


async def test_people_chat_where_both_stores_speak_tls_alone(system: EncryptedSystem) -> None:
    [worker_port] = ports.private(1)
    [presence_port] = ports.private(1, taken=[worker_port])
    door = gateway(system, 1)
    await system.serve(services.worker(system.stack, 1, metrics_port=worker_port), system.variables())
    await system.serve(services.presence(system.stack, 1, metrics_port=presence_port), system.variables())
    await system.serve(door, system.variables())
    await a_whole_chat([str(door.url)], [str(door.url)], jwt=system.stack.jwt)


async def test_check_says_that_both_connections_are_encrypted(system: EncryptedSystem) -> None:
    told = {**services.migration(system.stack).environment, **system.variables()}
    done = await chatctl("check", "--json", environment=told)
    found = {finding["subject"]: (finding["state"], finding["detail"]) for finding in done.json()}
    assert found["redis tls"] == ("ok", "on")
    state, cipher = found["mysql tls"]
    assert (state, cipher.partition("_")[0]) == ("ok", "TLS"), cipher


@UNTRUSTED
async def test_a_worker_ends_at_a_mysql_that_it_cannot_trust(
    system: EncryptedSystem, tmp_path: Path, fault: str
) -> None:
    worker = services.worker(system.stack, 2, metrics_port=0)
    assert await system.run(worker, told_of(fault, system, tmp_path)) == 2
    assert "delivery-worker: MySQL at" in system.log(worker)
    assert "certificate verify failed" in system.log(worker)


@UNTRUSTED
async def test_a_gateway_never_speaks_with_a_redis_that_it_cannot_trust(
    system: EncryptedSystem, tmp_path: Path, fault: str
) -> None:
    stranger = gateway(system, 2 if fault == "another name" else 3)
    await system.start(stranger, told_of(fault, system, tmp_path))
    assert "certificate verify failed" in await system.said(stranger, "look_failed")


@UNTRUSTED
@pytest.mark.parametrize(("store", "command"), [("REDIS", "backlog"), ("MYSQL", "partitions")])
async def test_a_command_says_why_it_does_not_trust_a_store(
    system: EncryptedSystem, tmp_path: Path, fault: str, store: str, command: str
) -> None:
    wrong = {
        name: value for name, value in told_of(fault, system, tmp_path).items() if name.startswith(f"CHAT_{store}_")
    }
    told = {**services.migration(system.stack).environment, **system.variables(), **wrong}
    done = await chatctl(command, environment=told)
    assert done.code == 1
    assert "certificate verify failed" in done.err
    assert "Traceback" not in done.err


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(tmp_path: Path) -> None:
    stack = described(tmp_path)
    settings = MySQLSettings(
        mysql_host=stack.mysql.host,
        mysql_port=stack.mysql.port,
        mysql_user=stack.mysql.user,
        mysql_password=stack.mysql.password,
        mysql_database=stack.mysql.database,
        mysql_tls_ca=Authority.found(tmp_path).certificate,
    )
    async with database(tmp_path, stack, "--skip-ssl"):
        with pytest.raises(ConfigurationError, match="offers no TLS"):
            await asyncio.to_thread(check_schema, settings)
        with pytest.raises(ConfigurationError, match="offers no TLS"):
            await open_wire(settings, idle_s=60)
