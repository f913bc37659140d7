"""Owns what every process tells of itself: how late its event loop is, and how long the garbage collector stops it."""

import asyncio
import gc
from time import perf_counter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from chatcore.instruments import Distribution

PROBE_S: Final = 0.25
"""Seconds between two looks at the clock: 4 wake-ups a second, well under 0.1 % of a core."""
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
YOUNG_THRESHOLD: Final = 50_000
"""Allocations between two young collections: the hot paths make no cycles, and the default of 700 costs about 3 %."""


disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap; nobody reads these series


class Vitals:
    """Measures this process, and sets the collector up for a process that lives long and holds much."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._lag = Distribution(
            "chat_event_loop_lag_seconds",
            "How late a timer of the event loop fired",
            bounds=BUCKETS_S,
            registry=registry,
        )
        self._pause = Distribution(
            "chat_gc_pause_seconds",
            "How long one garbage collection stopped the process",
            bounds=BUCKETS_S,
            registry=registry,
        )
        self._tasks = Gauge("chat_asyncio_tasks", "Tasks of the event loop", registry=registry)
        self._began = 0.0

    def settle(self) -> None:
        """Freeze what is there and raise the thresholds: call once, before listening."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_THRESHOLD, 20, 100)
        gc.callbacks.append(self._collected)

    async def watch(self) -> None:
        """Measure the loop until cancelled."""
        # Counted when it is scraped: it looks at every task, of which a gateway has one for each connection.
        loop = asyncio.get_running_loop()
        self._tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
        while True:
            due = perf_counter() + PROBE_S
            await asyncio.sleep(PROBE_S)
            self._lag.observe(max(0.0, perf_counter() - due))

    def _collected(self, phase: str, _: dict[str, Any]) -> None:
        if phase == "start":
            self._began = perf_counter()
        else:
            self._pause.observe(perf_counter() - self._began)
