"""What `check` says of a real Redis whose settings are as they should be, or not."""

from collections.abc import AsyncIterator

import pytest
from chatcore.keys import Keys
from chatcore.redis_client import close_redis, make_redis
from chatctl.deployment import Deployment
from chatctl.operations.check_redis import check_redis
from delivery_worker.settings import MySQLSettings
from redis.asyncio import Redis

GOOD = {"maxmemory": "64mb", "maxmemory-policy": "noeviction", "appendonly": "yes"}
UNUSED = MySQLSettings.model_validate({"mysql_user": "nobody", "mysql_password": "secret"})


@pytest.fixture
async def redis(server: str) -> AsyncIterator[Redis]:
    """A client that may change settings, of a Redis on which all are good."""
    client = make_redis(server, name="test", connections=1)
    try:
        for name, value in GOOD.items():
            await client.config_set(name, value)
        yield client
    finally:
        await close_redis(client)


async def findings(server: str) -> dict[str, tuple[str, str]]:
    """Give each finding's state and words by its subject."""
    found = await check_redis(Deployment(redis_url=server, keys=Keys(), mysql=UNUSED, folder=None))
    return {one.subject: (one.state, one.detail) for one in found}


async def test_good_settings_are_found_good(redis: Redis, server: str) -> None:
    found = await findings(server)
    assert {subject: found[subject][0] for subject in GOOD} == dict.fromkeys(GOOD, "ok")
    assert found["redis version"][0] == "ok"


@pytest.mark.parametrize(
    ("setting", "bad", "state", "told"),
    [
        ("appendonly", "no", "warning", "a restart empties Redis"),
        ("maxmemory-policy", "volatile-ttl", "fault", "throws keys away"),
        ("maxmemory", "0", "warning", "has no limit"),
    ],
)
async def test_a_bad_setting_is_named_with_what_follows(
    redis: Redis, server: str, setting: str, bad: str, state: str, told: str
) -> None:
    await redis.config_set(setting, bad)
    found = await findings(server)
    assert found[setting][0] == state
    assert told in found[setting][1]
    assert {subject for subject in GOOD if found[subject][0] != "ok"} == {setting}


async def test_a_redis_that_is_nearly_full_is_named(redis: Redis, server: str) -> None:
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", int(used * 1.1))
    state, detail = (await findings(server))["maxmemory"]
    assert state == "warning"
    assert "sends are refused" in detail
