"""Starts presence."""

import sys

from chatcore.lifecycle import run

from presence.app import PresenceApp
from presence.settings import PresenceSettings


def main() -> int:
    """Give the process's exit code."""
    return run("presence", PresenceSettings, PresenceApp)


if __name__ == "__main__":
    sys.exit(main())
