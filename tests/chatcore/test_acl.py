"""The Redis users: each may do what its service does, and nothing else."""

from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

import pytest
from chatcore import keys as key_map
from chatcore.acl import Grant, acl_file, grants
from chatcore.keys import Keys
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from tests.harness.servers import REDIS_PASSWORD

KEYS = Keys("one")
NAMES = {
    "chat:in:{p}": KEYS.inbox(3),
    "chat:workers": KEYS.workers,
    "chat:meta": KEYS.meta,
    "chat:gateway:<id>": KEYS.gateway("gw-1.0a"),
    "chat:presence": KEYS.presence,
    "chat:sync": KEYS.sync,
    "chat:devices:{user}": KEYS.devices("bob"),
    "chat:deadlines": KEYS.deadlines,
    "chat:swept": KEYS.swept,
    "chat:seen:{user}": KEYS.seen("bob"),
    "chat:watch:{user}": KEYS.watch("bob"),
    "chat:gw:<gateway>": KEYS.channel("gw-1.0a"),
    "chat:dead": KEYS.dead,
}
USERS = {"gateway": "gateway", "workers": "delivery-worker", "owner": "delivery-worker", "presence": "presence"}
"""The words of the key map's table, and who is meant."""


def rows() -> dict[str, tuple[str, str]]:
    """Key, written by, read by: the table in the key map's docstring."""
    lines = (key_map.__doc__ or "").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {cell[0].strip("`"): (cell[3], cell[4]) for cell in cells}


def named(words: str) -> set[str]:
    everybody = set(USERS.values())
    return everybody if words == "all" else {user for word, user in USERS.items() if word in words}


def covers(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def test_the_table_of_the_key_map_names_every_key() -> None:
    assert rows().keys() == NAMES.keys()


@pytest.mark.parametrize("key", [key for key in NAMES if key != "chat:gw:<gateway>"])
def test_whoever_reads_or_writes_a_key_by_the_key_map_may(key: str) -> None:
    written_by, read_by = (named(words) for words in rows()[key])
    every: dict[Any, Grant] = dict(grants(KEYS))
    for user in set(USERS.values()):
        grant = every[user]
        assert user not in written_by or covers((*grant.writes, *grant.both), NAMES[key]), f"{user} writes {key}"
        assert user not in read_by or covers((*grant.reads, *grant.both), NAMES[key]), f"{user} reads {key}"
        touched = covers((*grant.reads, *grant.writes, *grant.both), NAMES[key])
        assert not touched or user in written_by | read_by, f"{user} has no business with {key}"


def test_every_service_may_use_the_gateways_channels_and_no_others() -> None:
    for grant in grants(KEYS).values():
        assert set(grant.channels) <= {"one:gw:*"}
    assert all(covers(grants(KEYS)[user].channels, KEYS.channel("gw-1.0a")) for user in ("gateway", "presence"))


def test_no_pattern_reaches_the_keys_of_another_prefix() -> None:
    for grant in grants(KEYS).values():
        for pattern in (*grant.reads, *grant.writes, *grant.both, *grant.channels):
            assert pattern.startswith("one:")


def test_the_file_names_each_user_once_and_holds_no_password() -> None:
    digest = sha256(b"secret").hexdigest()
    lines = acl_file(KEYS, {"gateway": digest, "presence": digest}).splitlines()
    assert [line.split()[1] for line in lines] == ["default", "gateway", "presence"]
    assert lines[0] == "user default reset on nopass +ping"
    assert all(f"#{digest}" in line and "secret" not in line for line in lines[1:])


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the gateways' user."""
    client = Redis.from_url(redis_url, username="gateway", password=REDIS_PASSWORD, protocol=2)
    yield client
    await client.aclose()


@pytest.mark.parametrize(
    "command",
    [
        ("XRANGE", "one:in:{3}", "-", "+"),
        ("GET", "one:seen:{bob}"),
        ("SET", "one:meta", "1"),
        ("XADD", "one:dead", "*", "f", "1"),
        ("PUBLISH", "another", "1"),
        ("CONFIG", "GET", "maxmemory"),
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("EVAL", "return redis.call('GET', KEYS[1])", "1", "one:seen:{bob}"),
        ("ACL", "LIST"),
    ],
)
async def test_redis_refuses_a_gateway_what_is_not_its_business(gateway: Redis, command: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        await gateway.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own gap


async def test_every_command_name_is_one_that_redis_knows(redis_url: str) -> None:
    client = Redis.from_url(redis_url, protocol=2)
    for user, grant in grants(KEYS).items():
        await client.execute_command("ACL", "SETUSER", f"try-{user}", *grant.rules())  # type: ignore[no-untyped-call]  # redis-py's own gap
        await client.execute_command("ACL", "DELUSER", f"try-{user}")  # type: ignore[no-untyped-call]  # redis-py's own gap
    await client.aclose()
