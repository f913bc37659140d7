"""Owns the command that writes what is generated here: dashboards and the page of metrics.

`python -m deploy.observability.generate`, from the checkout's root.
"""

import sys
from pathlib import Path
from typing import Final

from deploy.observability import declarations
from deploy.observability.boards import delivery, gateways, presence, stores, workers

DASHBOARDS: Final = declarations.ROOT / "deploy" / "observability" / "grafana" / "dashboards"
BOARDS: Final = tuple(module.BOARD for module in (delivery, gateways, workers, presence, stores))


def outputs() -> dict[Path, str]:
    """Give every generated file and what it should hold."""
    boards = {DASHBOARDS / f"{board.uid}.json": board.json() for board in BOARDS}
    return {declarations.PAGE: declarations.page(), **boards}


def main() -> None:
    """Write them, and name those that changed."""
    for path, text in outputs().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: {path.relative_to(declarations.ROOT)}\n")


if __name__ == "__main__":
    main()
