"""`verify` is able to fail: each bug that is planted in real services is caught, by a property that it breaks.

One runs every time, the rest with `--all`: whether a fault meets the moment that they need is chance. `CHAT_TEST_SEED`
repeats one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from chatctl.verify import report
from chatctl.verify.planted.bugs import BUGS
from chatctl.verify.run import Options, run_privately
from chatctl.verify.screen import told

from tests.e2e.scenery import SEED

ALWAYS: Final = frozenset({"receipt_on_write"})
"""It shows with the first message, whatever else happens."""


def _bugs() -> Iterator[object]:
    for name in BUGS:
        yield pytest.param(name, id=name, marks=[] if name in ALWAYS else [pytest.mark.slow])


@pytest.mark.parametrize("name", list(_bugs()))
async def test_a_planted_bug_is_caught_by_a_property_that_it_breaks(name: str, tmp_path: Path) -> None:
    bug = BUGS[name]
    options = Options(
        seed=SEED, duration_s=bug.duration_s, clients=bug.clients, kinds=bug.faults, folder=tmp_path, planted=name
    )
    run = await run_privately(options, lambda _: None)
    again = f"./dev verify --seed {SEED} --duration {bug.duration_s:g} --clients {bug.clients} --planted {name}"
    report.write(run, tmp_path, again)
    assert bug.shown_by & {finding.asked.name for finding in run.verdict.broken}, told(run, again)
