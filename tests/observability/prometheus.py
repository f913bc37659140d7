"""Owns Debian's Prometheus, its promtool and the stores' exporters: installed when missing, or the reason why not."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.harness.programs import program

ROOT: Final = Path(__file__).parents[2]
OBSERVABILITY: Final = ROOT / "deploy" / "observability"
RULES: Final = sorted((OBSERVABILITY / "prometheus" / "rules").glob("*.yml"))
PACKAGES: Final = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-redis-exporter": "prometheus-redis-exporter",
    "prometheus-mysqld-exporter": "prometheus-mysqld-exporter",
}


def tool(name: str) -> str:
    """Give the path of a program of `PACKAGES`."""
    return program(name, PACKAGES[name])


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """Run promtool; gives what it says, and fails the test with it when it is not content."""
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def check_rules(folder: Path, tests: list[dict[str, Any]], *, interval: str) -> None:
    """Run `promtool test rules` over the rules of this repository. JSON is YAML."""
    file = folder / "rules.test.json"
    file.write_text(
        json.dumps({"rule_files": [str(path) for path in RULES], "evaluation_interval": interval, "tests": tests})
    )
    promtool("test", "rules", file)
