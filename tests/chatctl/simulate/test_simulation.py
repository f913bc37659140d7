"""Seeds run clean, replay exactly, and show the bugs that are planted."""

import os
import subprocess
import sys

import pytest
import structlog
from chatctl.simulate.run import run_seed

from tests.chatctl.simulate.planted import PLANTED

SEEDS = 50
REPLAY = "import structlog; structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50));"
REPLAY += "from chatctl.simulate.run import run_seed; print(run_seed('2').digest)"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_no_seed_breaks_a_promise(first: int) -> None:
    broken = {v.seed: v.violations for v in (run_seed(str(first + n)) for n in range(10)) if v.violations}
    assert broken == {}


def test_a_seed_goes_the_same_way_in_every_process() -> None:
    """Also where strings hash differently."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", REPLAY],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("bug", sorted(PLANTED))
def test_a_planted_bug_is_found_within_ten_seeds(bug: str) -> None:
    assert any(run_seed(str(seed), roles=PLANTED[bug]).violations for seed in range(10))
