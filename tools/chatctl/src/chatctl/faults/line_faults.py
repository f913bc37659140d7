"""Faults of the lines between the parts: cut, slow, lossy. A line is healed however the block ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from chatctl.faults.scene import Scene
from chatctl.faults.toxics import Bandwidth, Direction, Latency, LimitData, ResetPeer, Slicer, Timeout, Toxic

UP, DOWN = Direction.UP, Direction.DOWN


@asynccontextmanager
async def clients_cut(scene: Scene, _target: str, _random: Random) -> AsyncIterator[str]:
    """Reset every client's connection, at all gateways at once."""
    yield f"{sum(scene.proxy(line).cut() for line in scene.shape.client_lines)} connections"


@asynccontextmanager
async def partitioned(scene: Scene, line: str, random: Random) -> AsyncIterator[str]:
    """Let nothing pass, in both directions or in one: the ends see silence, and no close."""
    directions = random.choice(((UP, DOWN), (UP, DOWN), (UP,), (DOWN,)))
    with scene.proxy(line).afflicted(*(Timeout(direction=direction) for direction in directions)):
        yield " and ".join(directions)


@asynccontextmanager
async def down(scene: Scene, line: str, _random: Random) -> AsyncIterator[str]:
    """Reset what is open and refuse what comes."""
    async with scene.proxy(line).down():
        yield "refused"


@asynccontextmanager
async def slow(scene: Scene, line: str, random: Random) -> AsyncIterator[str]:
    """Delay, narrow and slice what passes."""
    toxics: list[Toxic] = [
        Latency(direction=UP, latency_s=random.uniform(0.02, 0.4), jitter_s=random.uniform(0.0, 0.2)),
        Latency(direction=DOWN, latency_s=random.uniform(0.02, 0.4), jitter_s=random.uniform(0.0, 0.2)),
        Bandwidth(direction=random.choice((UP, DOWN)), bytes_per_s=random.uniform(20_000, 200_000)),
        Slicer(direction=random.choice((UP, DOWN)), average_bytes=64, variation_bytes=60, delay_s=0.001),
    ]
    chosen = random.sample(toxics, random.randint(1, len(toxics)))
    with scene.proxy(line).afflicted(*chosen):
        yield "; ".join(str(toxic) for toxic in chosen)


@asynccontextmanager
async def lossy(scene: Scene, line: str, random: Random) -> AsyncIterator[str]:
    """Reset, strangle or cut off some of the connections, again and again."""
    share = random.uniform(0.2, 0.6)
    toxics: list[Toxic] = [
        ResetPeer(direction=random.choice((UP, DOWN)), toxicity=share),
        LimitData(direction=random.choice((UP, DOWN)), limit_bytes=random.randint(50, 20_000), toxicity=share),
        Timeout(direction=random.choice((UP, DOWN)), timeout_s=random.uniform(0.2, 2.0), toxicity=share),
    ]
    chosen = random.sample(toxics, random.randint(1, len(toxics)))
    with scene.proxy(line).afflicted(*chosen):
        yield "; ".join(str(toxic) for toxic in chosen)
