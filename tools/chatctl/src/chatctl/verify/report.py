"""Owns the files that a run leaves: report.json for programs and report.html for people. It judges nothing."""

from pathlib import Path
from typing import Any

import orjson

from chatctl.verify.page import page_of
from chatctl.verify.run import Run
from chatctl.verify.screen import line_of
from chatctl.verify.verdict import Finding

VIOLATIONS_MAX = 100
"""Violations of one property that a report names."""


def write(run: Run, folder: Path, command: str) -> None:
    """Write both reports into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(orjson.dumps(as_json(run, command), option=orjson.OPT_INDENT_2))
    (folder / "report.html").write_text(page_of(run, command), encoding="utf-8")


def as_json(run: Run, command: str) -> dict[str, Any]:
    """Return the whole report as plain values."""
    history, verdict = run.case.history, run.verdict
    return {
        "seed": run.options.seed,
        "command": command,
        "duration_s": run.options.duration_s,
        "clients": run.options.clients,
        "held": not verdict.broken,
        "messages": verdict.messages,
        "connections": verdict.connections,
        "observations": verdict.observations,
        "send_p50_s": verdict.send_p50_s,
        "send_p99_s": verdict.send_p99_s,
        "stall": {
            "stalled_p99_s": verdict.stall.stalled_s,
            "usual_p99_s": verdict.stall.usual_s,
            "samples": verdict.stall.samples,
        },
        "calm_s": None if history.calm_s is None else history.calm_s - history.begun_s,
        "fallen": list(run.fallen),
        "properties": [_finding(one, history.begun_s) for one in verdict.findings],
        "faults": [
            {
                "at_s": fault.at_s - history.begun_s,
                "kind": fault.kind,
                "target": fault.target,
                "begins": fault.begins,
                "detail": fault.detail,
            }
            for fault in history.faults
        ],
        "probes": [{"operation": probe.operation, "took_s": probe.took_s} for probe in history.probes],
    }


def _finding(one: Finding, begun_s: float) -> dict[str, Any]:
    return {
        "name": one.asked.name,
        "kind": one.asked.kind,
        "says": one.asked.says,
        "verdict": "not asked" if one.not_asked else "broken" if one.broken else "held",
        "lacks": list(one.lacks),
        "not_asked": one.not_asked,
        "violations": [violation.what for violation in one.violations[:VIOLATIONS_MAX]],
        "around": [line_of(item, begun_s) for item in one.around],
    }
