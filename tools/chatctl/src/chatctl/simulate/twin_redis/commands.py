"""Owns the commands on strings, hashes and sorted sets: arguments in, reply out, as Redis 7.0 answers. No I/O."""

from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ResponseError

from chatctl.simulate.twin_redis.keyspace import Keyspace, SortedSet

Reply = None | int | bytes | list["Reply"] | ResponseError
Command = Callable[[Keyspace, list[bytes]], Reply]
OK: Final = b"OK"


def number(raw: bytes) -> float:
    """Read a score. Raises `ResponseError`."""
    try:
        return float(raw)
    except ValueError:
        raise ResponseError("ERR value is not a valid float") from None


def write_score(score: float) -> bytes:
    """Write a score as Redis does."""
    return b"%d" % score if score == int(score) else repr(score).encode()


def _time(keys: Keyspace, _: list[bytes]) -> Reply:
    now = keys.now_ms()
    return [b"%d" % (now // 1000), b"%d" % (now % 1000 * 1000)]


def _get(keys: Keyspace, args: list[bytes]) -> Reply:
    return keys.get(args[0], bytes)


def _set(keys: Keyspace, args: list[bytes]) -> Reply:
    key, value, options = args[0], args[1], [arg.upper() for arg in args[2:]]
    old = keys.get(key, bytes)
    expires_ms = keys.now_ms() + int(options[options.index(b"PX") + 1]) if b"PX" in options else None
    keys.put(key, value, expires_ms)
    return old if b"GET" in options else OK


def _del(keys: Keyspace, args: list[bytes]) -> Reply:
    return sum([keys.delete(key) for key in args if keys.get(key, object) is not None])


def _exists(keys: Keyspace, args: list[bytes]) -> Reply:
    return sum(keys.get(key, object) is not None for key in args)


def _pexpire(keys: Keyspace, args: list[bytes]) -> Reply:
    return int(keys.expire(args[0], keys.now_ms() + int(args[1])))


def _pttl(keys: Keyspace, args: list[bytes]) -> Reply:
    if keys.get(args[0], object) is None:
        return -2
    deadline = keys.deadline(args[0])
    return -1 if deadline is None else deadline - keys.now_ms()


def _hset(keys: Keyspace, args: list[bytes]) -> Reply:
    fields: Any = keys.make(args[0], dict)
    before = len(fields)
    fields.update(zip(args[1::2], args[2::2], strict=True))
    return len(fields) - before


def _hmget(keys: Keyspace, args: list[bytes]) -> Reply:
    fields: Any = keys.get(args[0], dict)
    return [fields.get(name) if fields is not None else None for name in args[1:]]


def _zadd(keys: Keyspace, args: list[bytes]) -> Reply:
    at = 1
    while args[at].upper() in (b"XX", b"NX", b"GT", b"LT", b"CH"):
        at += 1
    options = {arg.upper() for arg in args[1:at]}
    added = changed = 0
    scores = keys.make(args[0], SortedSet)
    for raw, member in zip(args[at::2], args[at + 1 :: 2], strict=True):
        score, old = number(raw), scores.get(member)
        if old is None and b"XX" not in options:
            scores[member] = score
            added += 1
        elif old is not None and _replaces(options, old, score):
            changed += old != score
            scores[member] = score
    keys.drop_empty(args[0])
    return added + changed if b"CH" in options else added


def _replaces(options: set[bytes], old: float, score: float) -> bool:
    return not (b"NX" in options or (b"GT" in options and score <= old) or (b"LT" in options and score >= old))


def _zrem(keys: Keyspace, args: list[bytes]) -> Reply:
    scores = keys.get(args[0], SortedSet) or SortedSet()
    removed = sum([scores.pop(member, None) is not None for member in args[1:]])
    keys.drop_empty(args[0])
    return removed


def _zcard(keys: Keyspace, args: list[bytes]) -> Reply:
    return len(keys.get(args[0], SortedSet) or ())


def _zscore(keys: Keyspace, args: list[bytes]) -> Reply:
    score = (keys.get(args[0], SortedSet) or SortedSet()).get(args[1])
    return None if score is None else write_score(score)


def _pairs(found: list[tuple[bytes, float]], options: list[bytes]) -> Reply:
    if b"WITHSCORES" not in options:
        return [member for member, _ in found]
    return [part for member, score in found for part in (member, write_score(score))]


def _zrange(keys: Keyspace, args: list[bytes]) -> Reply:
    options = [arg.upper() for arg in args[3:]]
    if b"BYSCORE" in options:
        return _zrangebyscore(keys, [arg for arg in args if arg.upper() != b"BYSCORE"])
    scores = keys.get(args[0], SortedSet)
    if scores is None:
        return []
    first, last = int(args[1]), int(args[2])
    return _pairs(scores.ordered()[first : last + 1 or None], options)


def _bound(raw: bytes) -> tuple[float, bool]:
    """Read a bound: its score, and whether it is exclusive."""
    return (number(raw[1:]), True) if raw.startswith(b"(") else (number(raw), False)


def _between(scores: SortedSet, low: bytes, high: bytes) -> list[tuple[bytes, float]]:
    (least, above), (most, below) = _bound(low), _bound(high)
    return [
        (member, score)
        for member, score in scores.ordered()
        if (least < score or (least == score and not above)) and (score < most or (score == most and not below))
    ]


def _zrangebyscore(keys: Keyspace, args: list[bytes]) -> Reply:
    found = _between(keys.get(args[0], SortedSet) or SortedSet(), args[1], args[2])
    options = [arg.upper() for arg in args[3:]]
    if b"LIMIT" in options:
        at = options.index(b"LIMIT")
        start, count = int(options[at + 1]), int(options[at + 2])
        found = found[start : start + count if count >= 0 else None]
    return _pairs(found, options)


def _zremrangebyscore(keys: Keyspace, args: list[bytes]) -> Reply:
    scores = keys.get(args[0], SortedSet) or SortedSet()
    found = _between(scores, args[1], args[2])
    for member, _ in found:
        del scores[member]
    keys.drop_empty(args[0])
    return len(found)


COMMANDS: Final[dict[bytes, Command]] = {
    b"TIME": _time,
    b"GET": _get,
    b"SET": _set,
    b"DEL": _del,
    b"EXISTS": _exists,
    b"PEXPIRE": _pexpire,
    b"PTTL": _pttl,
    b"HSET": _hset,
    b"HMGET": _hmget,
    b"ZADD": _zadd,
    b"ZREM": _zrem,
    b"ZCARD": _zcard,
    b"ZSCORE": _zscore,
    b"ZRANGE": _zrange,
    b"ZRANGEBYSCORE": _zrangebyscore,
    b"ZREMRANGEBYSCORE": _zremrangebyscore,
}
GROWING: Final = frozenset({b"SET", b"HSET", b"ZADD", b"XADD"})
"""Refused by a full Redis under `noeviction`; so is the making of groups, and a script that uses these (`scripts`)."""
