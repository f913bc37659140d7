"""Owns the commands on streams: arguments in, reply out, as Redis 7.0 answers. No I/O.

What of XREADGROUP waits is the server's: here it finds nothing.
"""

from typing import Final

from redis.exceptions import ResponseError

from chatctl.simulate.twin_redis.commands import OK, Command, Reply
from chatctl.simulate.twin_redis.keyspace import Keyspace
from chatctl.simulate.twin_redis.streams import FIRST, LAST, Fields, Group, Stream, read_id, write_id

NODE: Final = 100
"""Entries of a node: an approximate trim drops whole ones (`stream-node-max-entries`)."""


def group_of(keys: Keyspace, key: bytes, name: bytes, hint: str = "") -> tuple[Stream, Group]:
    """Give a stream and its group. Raises `ResponseError` (NOGROUP)."""
    stream = keys.get(key, Stream)
    group = stream.groups.get(name) if stream is not None else None
    if stream is None or group is None:
        names = f"No such key '{key.decode()}' or consumer group '{name.decode()}'"
        raise ResponseError(f"NOGROUP {names}{hint}")
    return stream, group


def _entry(entry: tuple[int, int], fields: Fields | None) -> Reply:
    return [write_id(entry), list(fields) if fields is not None else None]


def _xadd(keys: Keyspace, args: list[bytes]) -> Reply:
    key, at, most = args[0], 1, None
    if args[at].upper() == b"MAXLEN":
        about = args[at + 1] in (b"~", b"=")
        most = int(args[at + 1 + about])
        at += 2 + about
        if args[2] == b"~":
            most += NODE
    if args[at] != b"*":
        raise ResponseError("ERR the twin takes only * for the id of XADD")
    stream = keys.make(key, Stream)
    entry = stream.add(args[at + 1 :], keys.now_ms())
    if most is not None:
        stream.trim(most)
    return write_id(entry)


def _xlen(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.get(args[0], Stream)
    return len(stream.entries) if stream is not None else 0


def _xrange(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.get(args[0], Stream) or Stream()
    low = FIRST if args[1] == b"-" else read_id(args[1])
    high = LAST if args[2] == b"+" else read_id(args[2], 2**63)
    return [_entry(entry, fields) for entry, fields in stream.entries.items() if low <= entry <= high]


def _xdel(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.get(args[0], Stream) or Stream()
    return sum([stream.entries.pop(read_id(raw), None) is not None for raw in args[1:]])


def _xack(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.get(args[0], Stream)
    group = stream.groups.get(args[1]) if stream is not None else None
    if group is None:
        return 0
    return sum([group.pending.pop(read_id(raw), None) is not None for raw in args[2:]])


def _xgroup(keys: Keyspace, args: list[bytes]) -> Reply:
    verb, key, name = args[0].upper(), args[1], args[2]
    if verb == b"CREATE":
        return _create(keys, key, name, args[3:])
    if verb == b"CREATECONSUMER":
        _, group = group_of(keys, key, name)
        return int(group.consumers.setdefault(args[3], keys.now_ms()) is not None)
    if verb == b"DELCONSUMER":
        _, group = group_of(keys, key, name)
        gone = [entry for entry, pending in group.pending.items() if pending.consumer == args[3]]
        for entry in gone:
            del group.pending[entry]
        group.consumers.pop(args[3], None)
        return len(gone)
    stream = keys.get(key, Stream)
    if stream is None:
        raise ResponseError("ERR The XGROUP subcommand requires the key to exist.")
    return int(stream.groups.pop(name, None) is not None)


def _create(keys: Keyspace, key: bytes, name: bytes, options: list[bytes]) -> Reply:
    if b"MKSTREAM" not in [option.upper() for option in options] and keys.get(key, Stream) is None:
        raise ResponseError("ERR The XGROUP subcommand requires the key to exist.")
    stream = keys.make(key, Stream)
    if name in stream.groups:
        raise ResponseError("BUSYGROUP Consumer Group name already exists")
    stream.groups[name] = Group(stream.last if options[0] == b"$" else read_id(options[0]))
    return OK


def _xinfo(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.get(args[1], Stream)
    if stream is None:
        raise ResponseError("ERR no such key")
    if args[0].upper() == b"GROUPS":
        return [_group_row(name, group) for name, group in sorted(stream.groups.items())]
    _, group = group_of(keys, args[1], args[2])
    now = keys.now_ms()
    return [
        [
            *(b"name", name, b"pending", sum(p.consumer == name for p in group.pending.values())),
            *(b"idle", now - seen_ms),
        ]
        for name, seen_ms in sorted(group.consumers.items())
    ]


def _group_row(name: bytes, group: Group) -> Reply:
    counts: list[Reply] = [b"name", name, b"consumers", len(group.consumers), b"pending", len(group.pending)]
    return [*counts, b"last-delivered-id", write_id(group.last)]


def _xautoclaim(keys: Keyspace, args: list[bytes]) -> Reply:
    key, name, consumer, idle_ms, start = args[:5]
    stream, group = group_of(keys, key, name)
    options = [arg.upper() for arg in args[5:]]
    count = int(options[options.index(b"COUNT") + 1]) if b"COUNT" in options else 100
    bare, now = b"JUSTID" in options, keys.now_ms()
    claimed, deleted = stream.claim(
        group, consumer, read_id(start), idle_ms=int(idle_ms), count=count, now_ms=now, count_up=not bare
    )
    if claimed:
        group.consumers[consumer] = now
    rows = [write_id(e) if bare else _entry(e, stream.entries[e]) for e in claimed]
    return [b"0-0", rows, [write_id(entry) for entry in deleted]]


def _xpending(keys: Keyspace, args: list[bytes]) -> Reply:
    _, group = group_of(keys, args[0], args[1])
    entries = sorted(group.pending)
    if not entries:
        return [0, None, None, None]
    counts: dict[bytes, int] = {}
    for pending in group.pending.values():
        counts[pending.consumer] = counts.get(pending.consumer, 0) + 1
    rows: list[Reply] = [[name, b"%d" % count] for name, count in sorted(counts.items())]
    return [len(entries), write_id(entries[0]), write_id(entries[-1]), rows]


class Reading:
    """One XREADGROUP: what it asks for, and a try to answer it."""

    def __init__(self, args: list[bytes]) -> None:
        options = [arg.upper() for arg in args]
        at = options.index(b"STREAMS")
        self.group, self.consumer = args[1], args[2]
        head = options[3:at]
        self.count = int(head[head.index(b"COUNT") + 1]) if b"COUNT" in head else 10_000
        self.block_ms = int(head[head.index(b"BLOCK") + 1]) if b"BLOCK" in head else None
        half = (len(args) - at - 1) // 2
        self.streams = list(zip(args[at + 1 : at + 1 + half], args[at + 1 + half :], strict=True))

    def answer(self, keys: Keyspace) -> Reply:
        """Read; None where there is nothing new. Raises `ResponseError` (NOGROUP)."""
        rows: list[Reply] = []
        now = keys.now_ms()
        for key, after in self.streams:
            stream, group = group_of(keys, key, self.group, " in XREADGROUP with GROUP option")
            if after == b">":
                new = stream.read_new(group, self.consumer, self.count, now)
                found = [_entry(entry, fields) for entry, fields in new]
            else:
                old = stream.read_pending(group, self.consumer, read_id(after), self.count)
                found = [_entry(entry, fields) for entry, fields in old]
            if found or after != b">":
                group.consumers[self.consumer] = now  # Redis 7.0 makes a consumer only when it gets something
                rows.append([key, list(found)])
        return rows or None


STREAM_COMMANDS: Final[dict[bytes, Command]] = {
    b"XADD": _xadd,
    b"XLEN": _xlen,
    b"XRANGE": _xrange,
    b"XDEL": _xdel,
    b"XACK": _xack,
    b"XGROUP": _xgroup,
    b"XINFO": _xinfo,
    b"XAUTOCLAIM": _xautoclaim,
    b"XPENDING": _xpending,
}
