"""Seeds run clean, replay exactly, and show the bugs that are planted."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import structlog
from chatctl.simulate.run import Verdict, run_seed
from chatctl.verify.device import BareDevice
from chatctl.verify.final_state import DeviceEnd

from tests.chatctl.simulate.planted import ROUTELESS, planted, prepare

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


@pytest.mark.parametrize(
    ("bug", "by"),
    [
        ("ack_before_commit", "confirmed_is_stored"),
        ("settle_before_commit", "settled_after_commit"),
        ("no_dedupe", "one_entry_per_message"),
        ("dedupe_with_expiry", "one_entry_per_message"),
        ("unfenced_upsert", "numbers_have_no_holes"),
        ("memory_before_commit", "numbers_have_no_holes"),
        ("receipt_on_write", "nothing_is_claimed_unsaid"),
    ],
)
def test_a_planted_bug_is_found_within_ten_seeds(bug: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(bug, monkeypatch)
    roles = planted(bug)
    assert any(_is_broken(by, run_seed(str(seed), roles=roles)) for seed in range(10))


def test_workers_that_look_no_route_up_are_found_within_ten_seeds() -> None:
    assert any(_is_broken("confirmed_is_in_every_view", run_seed(str(seed), roles=ROUTELESS)) for seed in range(10))


def _is_broken(name: str, verdict: Verdict) -> bool:
    return any(violation.startswith(f"{name}:") for violation in verdict.violations)


@pytest.mark.parametrize(
    ("gone", "by"),
    [
        ({"held": {}, "cursor": {}}, "every_device_is_complete"),
        ({"peer_delivered": {}, "peer_read": {}}, "receipts_converge"),
    ],
)
def test_a_device_that_lost_what_it_was_told_is_found(
    gone: Mapping[str, Any], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BareDevice.end

    def end(device: BareDevice, *, came_late: bool = False) -> DeviceEnd:
        said = whole(device, came_late=came_late)
        return replace(said, **gone) if (device.user, device.device) == ("alice", "desk") else said

    monkeypatch.setattr(BareDevice, "end", end)
    found = run_seed("2").violations
    assert any(one.startswith(f"{by}: alice/desk") for one in found)
    assert all("alice/desk" in one for one in found)
