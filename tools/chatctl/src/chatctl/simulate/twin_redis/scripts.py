"""Owns the services' Lua scripts in Python: the twin runs no Lua. Contract tests hold each against its original.

A script that is not in the table is one that a service got since: the twin then refuses it by name.
"""

from collections.abc import Callable
from typing import Final, Protocol

from chatcore.full_redis import RUN
from chatcore.presence import WATCH_MS, Seen, look
from chatcore.push import Kind, presence_payload, record
from delivery_worker.inbox import BEAT
from delivery_worker.router import ROUTES
from gateway.members import ENTER
from gateway.watch import SIGN
from presence.scripts import FORGET, LOOK, RETIRE, SEEN_MS, UNWATCH
from redis.exceptions import ResponseError

from chatctl.simulate.twin_redis.commands import Reply, write_score
from chatctl.simulate.twin_redis.keyspace import Keyspace, SortedSet
from chatctl.simulate.twin_redis.stream_commands import group_of


class Host(Protocol):
    """What a script may use."""

    keys: Keyspace

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Publish."""

    def call(self, command: list[bytes]) -> Reply:
        """Run a command, memory or not; an error is its reply."""


Script = Callable[[Host, list[bytes], list[bytes]], Reply]


def _enter(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    now = host.keys.now_ms()
    members = host.keys.make(keys[0], SortedSet)
    entered = args[1]
    if entered == b"0":
        device = args[0].partition(b"|")[0]
        fields = [member.split(b"|") for member in members]
        others = [int(parts[-1]) + 1 for parts in fields if parts[0] == device and parts[-1].isdigit()]
        entered = b"%d" % max([now, *others])
    members[args[0] + b"|" + entered] = now + float(args[2])
    return entered


def _beat(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    now = host.keys.now_ms()
    workers = host.keys.make(keys[0], SortedSet)
    workers[args[0]] = float(now + int(args[1]))
    for worker in [worker for worker, deadline in workers.items() if deadline < now]:
        del workers[worker]
    meta = host.keys.make(keys[1], dict)
    meta[b"partitions"], meta[b"epoch"] = args[2], args[3]
    return [worker for worker, _ in workers.ordered()]


def _look(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    space, now = host.keys, host.keys.now_ms()
    ttl_ms, sweep_until = int(args[1]), int(args[2])
    told = space.get(keys[1], bytes)
    seen = Seen(told == b"on", int(told) if told not in (None, b"on") else None)
    devices = space.get(keys[0], SortedSet) or SortedSet()
    found = look({m.decode(): int(d) for m, d in devices.items()}, seen, now, ttl_ms, sweep_until=sweep_until)
    for member in [member for member in devices if member.decode() not in found.devices]:
        del devices[member]
    space.drop_empty(keys[0])
    if found.changed:
        last = b"on" if found.seen.online else b"%d" % (found.seen.last_seen or 0)
        space.put(keys[1], last, None if found.seen.online else now + SEEN_MS)
    _tell(host, keys[2], args, found.seen, changed=found.changed)
    online = bool(found.devices)
    return [int(found.changed), int(online), write_score(found.next_ms) if found.next_ms is not None else b""]


def _tell(host: Host, watch: bytes, args: list[bytes], seen: Seen, *, changed: bool) -> None:
    user, prefix, asking, connection = args[0].decode(), args[3], args[4], int(args[5])
    space, now = host.keys, host.keys.now_ms()

    def frame(extra: bytes) -> bytes:
        last = b"null" if seen.online or seen.last_seen is None else b"%d" % seen.last_seen
        online = b"true" if seen.online else b"false"
        return b'{"type":"presence","user":"%s","online":%s,"last_seen":%s%s}' % (user.encode(), online, last, extra)

    def tell(gateway: bytes) -> None:
        host.publish(prefix + gateway, record(Kind.PRESENCE, 0, presence_payload(user, frame(b""))))

    if asking:
        gateways = space.make(watch, SortedSet)
        gateways[asking] = max(gateways.get(asking, 0.0), float(int(args[7]) + WATCH_MS))
        space.expire(watch, now + WATCH_MS)
    if changed:
        gateways = space.get(watch, SortedSet) or SortedSet()
        for gateway in [gateway for gateway, deadline in gateways.items() if deadline <= now]:
            del gateways[gateway]
        for gateway, _ in gateways.ordered():
            tell(gateway)
        space.drop_empty(watch)
    if asking and connection:
        host.publish(prefix + asking, record(Kind.FRAME, connection, frame(args[6])))
    elif asking and not changed:
        tell(asking)


def _unwatch(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    watch = host.keys.get(keys[0], SortedSet) or SortedSet()
    deadline = watch.get(args[0])
    if deadline is not None and deadline < int(args[1]) + WATCH_MS:
        del watch[args[0]]
        host.keys.drop_empty(keys[0])
    return None


def _forget(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    deadlines = host.keys.get(keys[0], SortedSet) or SortedSet()
    for user in args[1:]:
        if user in deadlines and deadlines[user] <= int(args[0]):
            del deadlines[user]
    host.keys.drop_empty(keys[0])
    return None


def _retire(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    _, group = group_of(host.keys, keys[0], args[0])
    now = host.keys.now_ms()
    busy = {pending.consumer for pending in group.pending.values()}
    for name, seen_ms in list(group.consumers.items()):
        if name not in busy and (name == args[2] or (not args[2] and now - seen_ms > int(args[1]))):
            del group.consumers[name]
    return None


def _sign(host: Host, keys: list[bytes], args: list[bytes]) -> Reply:
    return host.call([b"SET", keys[0], args[1], b"PX", args[0], b"GET"])


def _run(host: Host, _: list[bytes], args: list[bytes]) -> Reply:
    answers, at = [], 0
    while at < len(args):
        last = at + int(args[at])
        answers.append(host.call(args[at + 1 : last + 1]))
        at = last + 1
    return answers


def _routes(host: Host, _: list[bytes], args: list[bytes]) -> Reply:
    answers = [host.call([b"ZRANGE", key, b"0", b"-1"]) for key in args]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


SCRIPTS: Final[dict[str, Script]] = {
    ENTER: _enter,
    SIGN: _sign,
    RUN: _run,
    ROUTES: _routes,
    BEAT: _beat,
    LOOK: _look,
    UNWATCH: _unwatch,
    FORGET: _forget,
    RETIRE: _retire,
}


GROWING_SCRIPTS: Final = frozenset({ENTER})
"""Refused by a full Redis: they write what grows, and have no flag that allows it."""


def script_of(text: str) -> Script:
    """Give a script's equal. Raises `ResponseError`."""
    try:
        return SCRIPTS[text]
    except KeyError:
        raise ResponseError(f"ERR the twin of Redis knows no such script: {text.strip()[:60]}") from None
