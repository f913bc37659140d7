"""What `check` says of Redis's users, by answers made by hand and by a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chatcore.acl import Grant, User, grants
from chatcore.keys import Keys
from chatcore.redis_client import close_redis, make_redis
from chatctl.operations.acl_rights import Reach, follow, words_of
from chatctl.operations.check_acl import check_acl, compare_users, users_of
from chatctl.operations.checks import Finding
from redis.asyncio import Redis

KEYS = Keys("one")
CATEGORIES = {
    "read": frozenset({"get", "xlen"}),
    "write": frozenset({"set"}),
    "slow": frozenset({"acl", "acl|cat", "acl|list", "client", "client|list", "client|setname"}),
    "admin": frozenset({"acl|list", "client|list"}),
    "fast": frozenset({"ping", "select"}),
}
NEEDED: dict[User, Grant] = {
    "gateway": Grant(commands=("ping", "client|setname"), reads=("one:meta",), channels=("one:gw:*",)),
    "delivery-worker": Grant(commands=("set",), both=("one:in:{*}",)),
    "presence": Grant(commands=("get",), writes=("one:seen:*",)),
    "chatctl": Grant(commands=("+@all", "-@admin", "acl|list"), both=("one:*",)),
}
RULES = {
    "default": "on nopass sanitize-payload ~* &* +@all",
    "gateway": "on sanitize-payload #0 %R~one:meta resetchannels &one:gw:* -@all +client|setname +ping",
    "delivery-worker": "on #0 ~one:in:{*} resetchannels -@all +set",
    "presence": "on #0 %W~one:seen:* resetchannels -@all +get",
    "chatctl": "on #0 ~one:* resetchannels +@all -client|list",
}
"""As they should be, each in words that Redis may use for it."""


def findings(*, local: bool = False, **changed: str | None) -> list[Finding]:
    """What is said when some users' rules are others, or the user is not there: None."""
    rules = RULES | {name.replace("_", "-"): text for name, text in changed.items()}
    lines = [f"user {name} {text}" for name, text in rules.items() if text is not None]
    return compare_users(users_of(lines), CATEGORIES, NEEDED, local=local)


def the(found: list[Finding]) -> tuple[str, str, str]:
    [one] = found
    return one.state, one.subject, one.detail


def test_users_as_they_should_be_are_one_finding_that_is_no_fault_in_whatever_words_redis_tells_them() -> None:
    state, subject, detail = the(findings())
    assert (state, subject) == ("ok", "redis acl")
    assert detail.startswith("gateway, delivery-worker, presence, chatctl:")


@pytest.mark.parametrize("user", ["gateway", "delivery-worker", "presence"])
def test_a_service_without_its_user_is_a_fault(user: str) -> None:
    state, subject, detail = the(findings(**{user: None}))
    assert (state, subject) == ("fault", f"redis user {user}")
    assert "is missing" in detail


def test_a_tool_without_a_user_is_as_it_should_be() -> None:
    assert the(findings(chatctl=None))[0] == "ok"


def test_a_user_that_is_off_or_has_no_password_is_a_fault_and_one_that_needs_none_a_warning() -> None:
    rest = "%W~one:seen:* resetchannels -@all +get"
    assert the(findings(presence=f"off #0 {rest}"))[::2] == (
        "fault",
        "is off: a service that comes as it is refused",
    )
    state, subject, detail = the(findings(presence=f"on {rest}"))
    assert (state, subject) == ("fault", "redis user presence")
    assert "has no password" in detail
    state, _, detail = the(findings(presence=f"on nopass {rest}"))
    assert state == "warning"
    assert "needs no password" in detail


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ("%R~one:meta &one:gw:* -@all +ping", "commands client|setname"),
        ("&one:gw:* -@all +ping +client", "keys %R~one:meta"),
        ("%W~one:meta &one:gw:* -@all +ping +client", "keys %R~one:meta"),
        ("%R~two:* &one:gw:* -@all +ping +client", "keys %R~one:meta"),
        ("~* resetchannels +@all", "channels &one:gw:*"),
    ],
)
def test_a_user_that_lacks_something_is_a_fault_that_names_it(rules: str, named: str) -> None:
    faults = [finding for finding in findings(gateway=f"on #0 {rules}") if finding.state == "fault"]
    _, subject, detail = the(faults)
    assert subject == "redis user gateway"
    assert detail == f"lacks {named}: what needs it is refused with NOPERM"


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ("~one:in:{*} +set +get", "commands get"),
        ("~one:in:{*} +set +client", "commands client|list client|setname"),
        ("~one:in:{*} +set +select|0", "commands select|0"),
        ("~one:in:{*} %R~one:meta +set", "keys %R~one:meta"),
        ("~one:* +set", "keys %R~one:* %W~one:*"),
        ("~one:in:{*} &* +set", "channels &*"),
        ("~one:in:{*} +set (~* -@all +get)", "selectors (~* -@all +get)"),
        ("~one:in:{*} +@all", "commands acl|cat acl|list client|list client|setname get ping and 2 others"),
    ],
)
def test_a_user_that_may_more_is_a_warning_that_names_it_and_lacks_nothing(rules: str, named: str) -> None:
    state, subject, detail = the(findings(delivery_worker=f"on #0 {rules}"))
    assert (state, subject) == ("warning", "redis user delivery-worker")
    assert detail == f"may more than it needs: {named}"


@pytest.mark.parametrize(("local", "state"), [(True, "ok"), (False, "warning")])
def test_one_user_for_everything_is_a_weakness_unless_nobody_else_reaches_redis(local: bool, state: str) -> None:
    nobody = dict.fromkeys(RULES.keys() - {"default"})
    assert the(findings(local=local, **nobody))[:2] == (state, "redis acl")


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("*", "one:in:{*}", True),
        ("one:*", "one:in:{*}", True),
        ("one:in:{*}", "one:*", False),
        ("one:*:x", "one:in:x", True),
        ("one:?", "one:*", False),
        ("one.*", "one:in", False),
    ],
)
def test_a_pattern_covers_those_of_which_all_keys_are_its_own(wide: str, narrow: str, covered: bool) -> None:
    assert Reach("R", wide).covers(Reach("R", narrow)) is covered
    assert not Reach("W", wide).covers(Reach("R", narrow))


@pytest.fixture
async def redis(server: str) -> AsyncIterator[Redis]:
    """A client who may everything, of a Redis on which every user is as it should be."""
    async with client_of(server) as client:
        for user, grant in grants(KEYS).items():
            await acl(client, "SETUSER", user, "reset", "on", ">secret", *grant.rules())
        yield client


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Redis]:
    client = make_redis(url, name="test", connections=2)
    try:
        yield client
    finally:
        await close_redis(client)


async def acl(client: Redis, *words: str) -> Any:
    return await client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]  # redis-py's own gap


def as_user(url: str, user: str) -> str:
    return url.replace("redis://", f"redis://{user}:secret@")


async def test_a_real_redis_with_the_users_that_are_granted_is_found_right_as_chatctls_own_user(
    redis: Redis, server: str
) -> None:
    async with client_of(as_user(server, "chatctl")) as own:
        [found] = await check_acl(own, KEYS, local=True)
    assert (found.state, found.subject) == ("ok", "redis acl")
    assert all(user in found.detail for user in grants(KEYS))


async def test_a_real_redis_whose_users_were_changed_names_each_change(redis: Redis) -> None:
    await acl(redis, "SETUSER", "gateway", "-xadd", "+flushall", "+client|list")
    await acl(redis, "SETUSER", "presence", "off", "~one:meta")
    await acl(redis, "SETUSER", "chatctl", "-acl|list", "(~* +get)")
    await acl(redis, "DELUSER", "delivery-worker")
    found = await check_acl(redis, KEYS, local=True)
    assert {(one.state, one.subject.removeprefix("redis user "), one.detail.split(": ")[0]) for one in found} == {
        ("fault", "delivery-worker", "is missing"),
        ("fault", "gateway", "lacks commands xadd"),
        ("warning", "gateway", "may more than it needs"),
        ("fault", "presence", "is off"),
        ("warning", "presence", "may more than it needs"),
        ("fault", "chatctl", "lacks commands acl|list"),
        ("warning", "chatctl", "may more than it needs"),
    }


async def test_whoever_may_not_look_at_the_users_is_told_so(redis: Redis, server: str) -> None:
    async with client_of(as_user(server, "gateway")) as own:
        [found] = await check_acl(own, KEYS, local=True)
    assert (found.state, found.subject) == ("warning", "redis acl")
    assert "chatctl" in found.detail


@pytest.mark.parametrize(
    "rules",
    [
        "+@all -@dangerous +info -client +client|list",
        "+@slow -@write -acl|cat +@pubsub",
        "+@read +select|0 -@keyspace +@connection",
        "+config -config|set +@admin -@slow +ping",
        "+select|0 +select +get|x -get",
    ],
)
async def test_rules_are_followed_as_redis_follows_them(redis: Redis, rules: str) -> None:
    await acl(redis, "SETUSER", "other", "reset", *rules.split())
    [line] = [row.decode() for row in await acl(redis, "LIST") if row.startswith(b"user other ")]
    await acl(redis, "DELUSER", "other")
    names = await acl(redis, "CAT")
    categories = {name.decode(): frozenset(map(bytes.decode, await acl(redis, "CAT", name))) for name in names}
    [told] = users_of([line]).values()
    assert follow(words_of(rules), categories) == follow(told, categories)
