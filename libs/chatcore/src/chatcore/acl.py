"""Owns which Redis user may do what: one user per service, with just its keys, channels and commands. Pure.

It follows the key map of `chatcore.keys`. Who gives a service a new command or key adds it here: all tests run under
these rules, and what is forgotten fails there with NOPERM. https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/

Scripts are held to them too, and a script needs reading and writing for each key that is passed to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from chatcore.keys import Keys

User = Literal["gateway", "delivery-worker", "presence", "chatctl", "exporter"]

CONNECTION: Final = ("ping", "select", "client|setname")
SCRIPTS: Final = ("eval", "evalsha", "script|load", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one user may do, in patterns and command names."""

    commands: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    """May be written but not read: a gateway cannot look into what other gateways forwarded."""
    both: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def rules(self) -> Iterator[str]:
        """Write it as Redis's rules, without state and password."""
        yield "resetkeys"
        yield "resetchannels"
        yield "-@all"
        yield from (f"%R~{pattern}" for pattern in self.reads)
        yield from (f"%W~{pattern}" for pattern in self.writes)
        yield from (f"~{pattern}" for pattern in self.both)
        yield from (f"&{pattern}" for pattern in self.channels)
        yield from (command if command[0] in "+-" else f"+{command}" for command in self.commands)


def grants(keys: Keys) -> Mapping[User, Grant]:
    """Return every user's rights on the keys of one prefix."""
    return {
        "gateway": _gateway(keys),
        "delivery-worker": _delivery_worker(keys),
        "presence": _presence(keys),
        "chatctl": Grant(
            both=(f"{keys.prefix}:*",),
            channels=(keys.channel("*"),),
            commands=("+@all", "-@dangerous", "info", "config|get", "client|list", "acl|list", "acl|getuser", "keys"),
        ),
        "exporter": Grant(
            reads=(f"{keys.prefix}:*",),
            commands=(*CONNECTION, "info", "config|get", "client|list", "slowlog|get", "slowlog|len", "latency|latest"),
        ),
    }


def acl_file(keys: Keys, passwords: Mapping[User, str], *, default: str = "on nopass +ping") -> str:
    """Write an ACL file for the users that `passwords` names, each with the SHA-256 of the password in hex.

    `default` are the rules of whoever gives no name: may ask whether the server answers, and nothing else.
    """
    every = grants(keys)
    lines = [f"user default reset {default}"]
    lines += [f"user {user} reset on #{digest} {' '.join(every[user].rules())}" for user, digest in passwords.items()]
    return "\n".join(lines) + "\n"


def _gateway(keys: Keys) -> Grant:
    return Grant(
        reads=(keys.meta,),
        writes=(keys.inbox("*"), keys.sync, keys.presence),
        both=(keys.devices("*"), keys.gateway("*")),
        channels=(keys.channel("*"),),
        commands=(
            *(*CONNECTION, "eval", "time", "publish", "subscribe", "unsubscribe"),
            *("xadd", "xlen", "zadd", "zrem", "zrange", "set", "del", "hmget"),
        ),
    )


def _delivery_worker(keys: Keys) -> Grant:
    return Grant(
        reads=(keys.devices("*"),),
        writes=(keys.dead,),
        both=(keys.inbox("*"), keys.sync, keys.workers, keys.meta),
        channels=(keys.channel("*"),),
        commands=(
            # multi, exec: of workers before they settled by a script, for as long as both run.
            *(*CONNECTION, *SCRIPTS, "multi", "exec", "publish", "hset"),
            *("zadd", "zrem", "zremrangebyscore", "zrange"),
            *("xadd", "xlen", "xreadgroup", "xack", "xdel", "xautoclaim"),
            *("xgroup|create", "xgroup|destroy", "xinfo|groups"),
        ),
    )


def _presence(keys: Keys) -> Grant:
    return Grant(
        both=(keys.presence, keys.devices("*"), keys.deadlines, keys.swept, keys.seen("*"), keys.watch("*")),
        channels=(keys.channel("*"),),
        commands=(
            *(*CONNECTION, *SCRIPTS, "publish", "get", "set", "pexpire"),
            *("zadd", "zrem", "zremrangebyscore", "zrange", "zrangebyscore", "zcard", "zscore"),
            *("xreadgroup", "xack", "xdel", "xautoclaim", "xgroup|create", "xgroup|delconsumer", "xinfo|consumers"),
        ),
    )
