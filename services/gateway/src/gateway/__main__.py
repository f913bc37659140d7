"""Starts a gateway."""

import sys

from chatcore.lifecycle import run

from gateway.app import GatewayApp
from gateway.settings import GatewaySettings


def main() -> int:
    """Give the process's exit code."""
    return run("gateway", GatewaySettings, GatewayApp)


if __name__ == "__main__":
    sys.exit(main())
