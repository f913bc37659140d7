"""Owns what the services take for time and chance: the loop's time, and one seed for each process.

The services import `monotonic`, `time`, `uniform` and `secrets`; in here those names lead to the simulation. It is
done from outside, module by module, and undone at the end: the product has no switch for it.
"""

import random
import secrets
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from chatctl.simulate.event_loop import PROCESS

WALL_S: Final = 1_800_000_000.0
"""The wall clock at the beginning of every run."""
PACKAGES: Final = ("chatcore", "gateway", "delivery_worker", "presence")


class World(Protocol):
    """What a run knows of time and chance."""

    def now_s(self) -> float:
        """Seconds since the beginning."""

    def random_of(self, process: Any) -> random.Random:
        """Give the source of chance of a process."""


@contextmanager
def virtual(world: World) -> Iterator[None]:
    """Lead the services' clocks and dice to `world`, until the end of the block."""
    table = _table(world)
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    for names in _namespaces():
        for name, value in list(names.items()):
            substitute = table.get(id(value))
            if substitute is not None:
                replaced.append((names, name, value))
                names[name] = substitute
    try:
        yield
    finally:
        for names, name, value in replaced:
            names[name] = value


def _namespaces() -> Iterator[dict[str, Any]]:
    """Give the names of every module of the services, and the defaults of their functions' arguments."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] not in PACKAGES:
            continue
        yield vars(module)
        owners = [vars(module), *(vars(value) for value in vars(module).values() if isinstance(value, type))]
        for owner in owners:
            for value in owner.values():
                if isinstance(value, types.FunctionType) and value.__kwdefaults__:
                    yield value.__kwdefaults__


def _table(world: World) -> dict[int, Any]:
    """Give what stands for what, by the identity of the original."""
    now_s = world.now_s

    def wall_s() -> float:
        process = PROCESS.get()
        return WALL_S + now_s() + (process.skew_s if process is not None else 0.0)

    def uniform(low: float, high: float) -> float:
        return world.random_of(PROCESS.get()).uniform(low, high)

    def token_hex(size: int) -> str:
        return world.random_of(PROCESS.get()).randbytes(size).hex()

    pairs: list[tuple[Any, Callable[..., Any] | types.SimpleNamespace]] = [
        (time.time, wall_s),
        (time.monotonic, now_s),
        (time.perf_counter, now_s),
        (random.uniform, uniform),
        (secrets, types.SimpleNamespace(token_hex=token_hex)),
    ]
    return {id(original): substitute for original, substitute in pairs}
