"""Owns the command that writes what is generated here: dashboards and the page of metrics.

`python -m deploy.observability.generate`, from the checkout's root.
"""

import sys
from pathlib import Path

from deploy.observability import declarations


def outputs() -> dict[Path, str]:
    """Give every generated file and what it should hold."""
    return {declarations.PAGE: declarations.page()}


def main() -> None:
    """Write them, and name those that changed."""
    for path, text in outputs().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: {path.relative_to(declarations.ROOT)}\n")


if __name__ == "__main__":
    main()
