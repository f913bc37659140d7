"""A minute of every kind of fault, and every promise held against what happened.

`CHAT_TEST_SEED` repeats one; `CHAT_TEST_VERIFY_S` changes the length. Promises of seconds are judged by `./dev verify`
on a machine at rest: beside other work they say more of the machine than of the system.
"""

import re
import sys
from pathlib import Path

from chatctl.faults.kinds import KINDS
from chatctl.verify import report
from chatctl.verify.run import Options, Run, run_against, run_privately
from chatctl.verify.screen import told
from chatctl.verify.system import Remote

from tests.e2e.scenery import SEED, size
from tests.harness.stack import Stack

CLIENTS = 20
SECONDS = re.compile(r"\b\d+ s\b")


def _broken(run: Run) -> list[str]:
    """Name the properties that did not hold, but for those whose words name seconds."""
    return [one.asked.name for one in run.verdict.broken if not SECONDS.search(one.asked.says)]


async def test_every_promise_holds_through_a_minute_of_every_kind_of_fault(tmp_path: Path) -> None:
    duration_s = size("VERIFY_S", 60)
    options = Options(seed=SEED, duration_s=duration_s, clients=CLIENTS, kinds=tuple(KINDS), folder=tmp_path)
    run = await run_privately(options, lambda _: None)
    again = f"./dev verify --seed {SEED} --duration {duration_s} --clients {CLIENTS}"
    report.write(run, tmp_path, again)
    assert not _broken(run), told(run, again)
    assert not run.fallen
    assert [one.asked.name for one in run.verdict.findings if one.lacks] == []
    assert {fault.kind for fault in run.case.history.faults} == set(KINDS)
    assert run.verdict.messages > CLIENTS


async def test_every_promise_holds_where_nothing_disturbs(tmp_path: Path) -> None:
    options = Options(seed=SEED, duration_s=15, clients=8, kinds=(), folder=tmp_path)
    run = await run_privately(options, lambda _: None)
    assert not _broken(run), told(run, f"./dev verify --seed {SEED} --duration 15 --clients 8 --faults none")
    assert run.case.final.online


async def test_a_deployment_is_judged_from_its_clients_side_alone(stack: Stack, tmp_path: Path) -> None:
    remote = Remote(stack.gateways(), f"{sys.executable} -m chatctl token --dir {stack.folder}")
    options = Options(seed=SEED, duration_s=10, clients=6, kinds=(), folder=tmp_path)
    run = await run_against(options, remote, lambda _: None)
    assert not _broken(run), told(run, "--against")
    not_asked = {one.asked.name for one in run.verdict.findings if one.lacks}
    assert {"accepted_is_accounted_for", "settled_after_commit", "fenced_worker_has_no_effect"} <= not_asked
