"""Vitals: what a process tells of itself. The collector is set up in a process of its own."""

import asyncio
import gc
import subprocess
import sys

from chatcore.vitals import PROBE_S, Vitals
from prometheus_client import CollectorRegistry

SETTLED = """
import gc
from chatcore.vitals import YOUNG_THRESHOLD, Vitals
from prometheus_client import CollectorRegistry
registry = CollectorRegistry()
Vitals(registry).settle()
assert gc.get_freeze_count() > 0
assert gc.get_threshold()[0] == YOUNG_THRESHOLD
before = registry.get_sample_value("chat_gc_pause_seconds_count")
gc.collect()
assert registry.get_sample_value("chat_gc_pause_seconds_count") == before + 1
"""


async def test_the_lag_of_the_loop_and_its_tasks_are_measured() -> None:
    registry = CollectorRegistry()
    watching = asyncio.create_task(Vitals(registry).watch())
    async with asyncio.timeout(20):
        while not registry.get_sample_value("chat_event_loop_lag_seconds_count"):
            await asyncio.sleep(PROBE_S / 5)
    assert (registry.get_sample_value("chat_asyncio_tasks") or 0) >= 2
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def test_settling_freezes_what_is_there_and_measures_each_pause() -> None:
    subprocess.run([sys.executable, "-c", SETTLED], check=True)


def test_making_vitals_changes_nothing_for_the_collector() -> None:
    before = gc.get_threshold(), len(gc.callbacks)
    Vitals(CollectorRegistry())
    assert (gc.get_threshold(), len(gc.callbacks)) == before
