"""A fault that another one kept from being inflicted is told apart from one that was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from chatctl.faults.kinds import KINDS
from chatctl.faults.nemesis import FaultNote, run_faults, was_inflicted
from chatctl.faults.plan import Plan, plan_of
from chatctl.faults.scene import Scene

MISSING = "no such tool"


class _Kind:
    """Stands for a kind of fault: it fails where `fails` says."""

    def __init__(self, fails: str) -> None:
        self._fails = fails

    def missing(self) -> str | None:
        return MISSING if self._fails == "missing" else None

    @asynccontextmanager
    async def inflict(self, scene: Scene, target: str, random: Random) -> AsyncIterator[str]:
        del scene, target, random
        if self._fails == "inflicting":
            raise ConnectionRefusedError("down")
        yield "done"
        if self._fails == "undoing":
            raise ConnectionRefusedError("down")


@pytest.mark.parametrize(
    ("fails", "detail", "inflicted"),
    [
        ("nowhere", "done", True),
        ("missing", f"unavailable: {MISSING}", False),
        ("inflicting", "not done: ConnectionRefusedError: down", False),
        ("undoing", "not undone: ConnectionRefusedError: down", True),
    ],
)
async def test_the_end_of_a_fault_tells_whether_it_was_inflicted(
    fails: str, detail: str, inflicted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _one("kill")
    monkeypatch.setitem(KINDS, "kill", cast("Any", _Kind(fails)))
    notes: list[FaultNote] = []
    await run_faults(plan, cast("Any", SimpleNamespace()), notes.append)
    assert [note.phase for note in notes] == ["begin", "end"]
    assert notes[-1].detail == detail
    assert was_inflicted(notes[-1].detail) is inflicted


def _one(kind: str) -> Plan:
    """Draw a plan, and keep one fault of it, at once and for no time."""
    plan = plan_of(1, 60, [kind])
    return replace(plan, faults=(replace(plan.faults[0], at_s=0.0, lasts_s=0.0),))
