"""Starts a gateway."""

import sys
from functools import partial

from chatcore.lifecycle import run

from gateway.app import GatewayApp
from gateway.processes import Processes, asked
from gateway.settings import GatewaySettings


def main() -> int:
    """Give the process's exit code."""
    count = asked(sys.argv[1:])
    return run("gateway", GatewaySettings, GatewayApp if count == 1 else partial(Processes, count=count))


if __name__ == "__main__":
    sys.exit(main())
