"""Owns who ought to own which partition: rendezvous hashing over the live workers (R1). Pure.

Every worker computes the same from the same list. It must never decide alone: MySQL's fence does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b


def owner_of(partition: int, workers: Sequence[str]) -> str:
    """Name the worker with the highest weight for a partition; `workers` is not empty.

    When one worker comes or goes, only its own share of the partitions moves.
    """
    return max(workers, key=lambda worker: (_weight(partition, worker), worker))


def _weight(partition: int, worker: str) -> int:
    return int.from_bytes(blake2b(f"{partition}\0{worker}".encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Change:
    """What a beat changes in what a worker owns."""

    take: frozenset[int]
    """Named in this beat and in the one before, and not owned: take over."""
    drop: frozenset[int]
    """Owned, and no longer named: stop reading. The fence would stop it too; this is sooner."""


class Claims:
    """Turns the beats' lists of workers into takeovers: who is named in two beats in a row takes over."""

    def __init__(self, worker: str, partitions: int) -> None:
        self._worker = worker
        self._partitions = partitions
        self._before: frozenset[int] = frozenset()

    def beat(self, live: Sequence[str], owned: frozenset[int]) -> Change:
        """Take one beat's list of live workers, which holds this one."""
        named = frozenset(p for p in range(self._partitions) if owner_of(p, live) == self._worker)
        take = (named & self._before) - owned
        self._before = named
        return Change(take=take, drop=owned - named)

    def reset(self) -> None:
        """Start over: this worker was dead to the others for a while."""
        self._before = frozenset()
