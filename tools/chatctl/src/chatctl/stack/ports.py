"""Chooses TCP ports on the loopback. Owns no socket: what it returns was free a moment ago."""

import secrets
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from chatctl.failure import Failure

LOWEST_PORT = 10_000
"""Where the search for private ports begins: below lie the ports that people's own services like."""

LAST_PORT = 65_535

EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Linux's ports for outgoing connections (ip(7)). A server that is down for a moment can lose a port in it to any
client, and thousands of test clients make that likely: private ports are taken from below it."""


def first_ephemeral() -> int:
    """Return the first port that outgoing connections may take, 32,768 where the kernel does not tell."""
    try:
        return int(EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 32_768


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def from_port(first: int, count: int, *, taken: Collection[int] = ()) -> list[int]:
    """Return the first free ports from `first` upwards."""
    return _take(iter(range(first, LAST_PORT + 1)), count, taken=taken)


def private(count: int, *, taken: Collection[int] = ()) -> list[int]:
    """Return free ports that no outgoing connection takes, at a random place: two stacks that start at once differ."""
    span = max(first_ephemeral() - LOWEST_PORT, 1_000)
    start = secrets.randbelow(span)
    return _take((LOWEST_PORT + (start + i) % span for i in range(span)), count, taken=taken)


def _take(candidates: Iterator[int], count: int, *, taken: Collection[int]) -> list[int]:
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if port not in taken and is_free(port):
            found.append(port)
    if len(found) < count:
        raise Failure(f"found only {len(found)} of {count} free ports", advice="choose another start with --port")
    return found
