"""A minute of every kind of fault, and every promise held against what happened.

`CHAT_TEST_SEED` repeats one; `CHAT_TEST_VERIFY_S` changes the length.
"""

import shlex
import sys
from pathlib import Path

from chatctl.faults.kinds import KINDS
from chatctl.faults.nemesis import unavailable
from chatctl.verify import report
from chatctl.verify.case import FOR_EVER
from chatctl.verify.run import Options, run_against, run_privately
from chatctl.verify.screen import inflicted, told
from chatctl.verify.system import Remote

from tests.e2e.scenery import SEED, size
from tests.harness.stack import Stack

CLIENTS = 20


async def test_every_promise_holds_through_a_minute_of_every_kind_of_fault(tmp_path: Path) -> None:
    duration_s = size("VERIFY_S", 60)
    options = Options(seed=SEED, duration_s=duration_s, clients=CLIENTS, kinds=tuple(KINDS), folder=tmp_path)
    run = await run_privately(options, lambda _: None)
    again = f"./dev verify --seed {SEED} --duration {duration_s} --clients {CLIENTS}"
    report.write(run, tmp_path, again)
    assert not run.verdict.broken, told(run, again)
    assert not run.fallen
    assert not [link for link in run.case.links.values() if link.down_s == FOR_EVER], "an end without a record misleads"
    assert [(one.asked.name, one.not_asked) for one in run.verdict.findings if one.not_asked] == []
    assert unavailable(tuple(KINDS)) == {}
    assert {fault.kind for fault in run.case.history.faults} == set(KINDS)
    assert len(inflicted(run.case.history)) > len(KINDS) // 2, "one may not be done while another is in force"
    assert run.verdict.messages > CLIENTS


async def test_presence_is_judged_by_seconds_where_nothing_disturbs(tmp_path: Path) -> None:
    options = Options(seed=SEED, duration_s=15, clients=8, kinds=(), folder=tmp_path)
    run = await run_privately(options, lambda _: None)
    assert not run.verdict.broken, told(run, f"./dev verify --seed {SEED} --duration 15 --clients 8 --faults none")
    assert run.case.final.online


async def test_a_deployment_is_judged_from_its_clients_side_alone(stack: Stack, tmp_path: Path) -> None:
    command = shlex.join([sys.executable, "-m", "chatctl", "token", "--dir", str(stack.folder)])
    remote = Remote(stack.gateways(), command)
    options = Options(seed=SEED, duration_s=10, clients=6, kinds=(), folder=tmp_path)
    run = await run_against(options, remote, lambda _: None)
    assert not run.verdict.broken, told(run, "--against")
    not_asked = {one.asked.name for one in run.verdict.findings if one.lacks}
    assert {"accepted_is_accounted_for", "settled_after_commit", "fenced_worker_has_no_effect"} <= not_asked
