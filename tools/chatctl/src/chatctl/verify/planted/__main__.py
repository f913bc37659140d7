"""Runs a service with a bug planted in it, in the place of the real one: `python -m chatctl.verify.planted NAME`."""

import sys

from chatcore.lifecycle import run
from delivery_worker.app import WorkerApp
from delivery_worker.settings import WorkerSettings
from gateway.app import GatewayApp
from gateway.settings import GatewaySettings

from chatctl.verify.planted.bugs import BUGS


def main() -> int:
    """Give the service's exit code."""
    app = BUGS[sys.argv[1]].app
    if issubclass(app, WorkerApp):
        return run("delivery-worker", WorkerSettings, app)
    assert issubclass(app, GatewayApp)  # noqa: S101 - narrows the type
    return run("gateway", GatewaySettings, app)


if __name__ == "__main__":
    sys.exit(main())
