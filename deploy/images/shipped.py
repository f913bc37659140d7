"""Prints the pins of what may be shipped: `requirements.lock` without what `requirements.in` lists as tests and checks.

An image fetches these alone: a tool that is not to be had for the image's platform must not keep it from being built.
"""

import re
import sys
from pathlib import Path
from typing import Final

TOOLS: Final = "# tests and checks"
"""The line of `requirements.in` below which nothing is shipped."""


def shipped(lock: str, wanted: str) -> str:
    """Give the lock without the tools. What only they need stays in it: it is fetched, and not installed."""
    _, heading, below = wanted.partition(f"\n{TOOLS}\n")
    if not heading:
        raise ValueError(f"requirements.in has no line {TOOLS!r}")
    tools = {_normal(name) for name in re.findall(r"^[A-Za-z0-9._-]+", below, re.MULTILINE)}
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if entry.partition("==")[0] not in tools)


def _normal(name: str) -> str:
    """Write a name as the lock does (https://packaging.python.org/en/latest/specifications/name-normalization/)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    root = Path(sys.argv[1])
    sys.stdout.write(shipped((root / "requirements.lock").read_text(), (root / "requirements.in").read_text()))
