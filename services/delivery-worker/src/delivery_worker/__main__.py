"""Starts a worker, or migrates the schema: `delivery-worker [migrate]`."""

import sys

from chatcore.errors import ConfigurationError
from chatcore.lifecycle import EXIT_CONFIGURATION, run
from chatcore.settings import read_settings

from delivery_worker.app import WorkerApp
from delivery_worker.schema import migrate
from delivery_worker.settings import MySQLSettings, WorkerSettings


def main() -> int:
    """Give the process's exit code."""
    match sys.argv[1:]:
        case []:
            return run("delivery-worker", WorkerSettings, WorkerApp)
        case ["migrate"]:
            return _migrate()
        case _:
            print("usage: delivery-worker [migrate]", file=sys.stderr)  # noqa: T201 - a command line
            return EXIT_CONFIGURATION


def _migrate() -> int:
    try:
        version = migrate(read_settings(MySQLSettings))
    except ConfigurationError as error:
        print(f"delivery-worker migrate: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return EXIT_CONFIGURATION
    print(f"schema at version {version}")  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main())
