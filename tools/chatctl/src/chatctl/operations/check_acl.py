"""Owns what is to be right about Redis's users: each service has one, with what `chatcore.acl` grants, and no more."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chatcore.acl import Grant, User, grants
from chatcore.keys import Keys
from chatcore.redis_client import answered
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from chatctl.operations.acl_rights import Categories, Excess, beyond, follow, words_of
from chatctl.operations.checks import Finding, fault, ok, warning

NEEDED: Final[tuple[User, ...]] = ("gateway", "delivery-worker", "presence")
"""Must be there as soon as any user is; `chatctl` and `exporter` only where somebody uses them."""
NAMED: Final = 6
"""Commands or patterns that a finding names one by one: a user who may everything has some four hundred."""

Users = Mapping[str, list[str]]
"""Each user's rules, taken apart."""


async def check_acl(redis: Redis, keys: Keys, *, local: bool) -> list[Finding]:
    """Compare the users that Redis has with those that the services need. Raises `StoreUnavailable`.

    `local` says that nobody beyond this machine reaches Redis: there one user for everything is no weakness.
    """
    asked = await answered(_ask(redis))
    if isinstance(asked, str):
        return [warning("redis acl", f"was not compared, {asked}: look as the user `chatctl`")]
    return compare_users(*asked, grants(keys), local=local)


async def _ask(redis: Redis) -> tuple[Users, Categories] | str:
    """Ask for all users and for what their rules mean, or tell why Redis does not say."""
    try:
        lines: Any = await redis.execute_command("ACL", "LIST")  # type: ignore[no-untyped-call]  # redis-py's own gap
        names: Any = await redis.execute_command("ACL", "CAT")  # type: ignore[no-untyped-call]  # redis-py's own gap
        pipeline = redis.pipeline(transaction=False)
        for name in names:
            pipeline.execute_command("ACL", "CAT", name)
        members: Any = await pipeline.execute()
    except ResponseError as error:  # NOPERM, or a service that is like Redis and has no such command
        return str(error)
    categories = {name.decode(): frozenset(map(bytes.decode, of)) for name, of in zip(names, members, strict=True)}
    return users_of(line.decode() for line in lines), categories


def users_of(lines: Iterable[str]) -> Users:
    """Read the answer to ACL LIST: lines `user <name> <rules>`."""
    rows = (line.split(" ", 2) for line in lines)
    return {name: words_of(rules) for _, name, rules in rows}


def compare_users(users: Users, categories: Categories, needed: Mapping[User, Grant], *, local: bool) -> list[Finding]:
    """Tell of every service's user what is wrong with it; when nothing is, that."""
    there = [user for user in needed if user in users]
    if not there:
        detail = "no service has a user of its own: each may do everything that its user may"
        return [(ok if local else warning)("redis acl", detail)]
    found = [
        fault(f"redis user {user}", "is missing: a service that comes as it is refused; see `chatctl acl`")
        for user in NEEDED
        if user not in there
    ]
    for user in there:
        found += _user(user, users[user], needed[user], categories)
    return found or [ok("redis acl", f"{', '.join(there)}: each may what it needs, and no more")]


def _user(user: User, words: list[str], grant: Grant, categories: Categories) -> list[Finding]:
    subject = f"redis user {user}"
    may, needs = follow(words, categories), follow(grant.rules(), categories)
    found = _entry(subject, words)
    if lacking := beyond(needs, may):
        found.append(fault(subject, f"lacks {_told(lacking)}: what needs it is refused with NOPERM"))
    if more := beyond(may, needs):
        found.append(warning(subject, f"may more than it needs: {_told(more)}"))
    return found


def _entry(subject: str, words: list[str]) -> list[Finding]:
    """Tell whether the service can come as this user, and nobody else."""
    if "on" not in words:
        return [fault(subject, "is off: a service that comes as it is refused")]
    if "nopass" in words:
        return [warning(subject, "needs no password: whoever reaches Redis may what it may")]
    if not any(word.startswith("#") for word in words):
        return [fault(subject, "has no password: a service that comes as it is refused")]
    return []


def _told(excess: Excess) -> str:
    named = {
        "commands": excess.commands,
        "keys": [str(reach) for reach in excess.reaches if reach.kind != "&"],
        "channels": [str(reach) for reach in excess.reaches if reach.kind == "&"],
        "selectors": excess.selectors,
    }
    return "; ".join(f"{what} {_short(names)}" for what, names in named.items() if names)


def _short(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - NAMED
    return " ".join(names[:NAMED]) + (f" and {rest} others" if rest > 0 else "")
