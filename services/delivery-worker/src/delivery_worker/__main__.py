"""Starts a worker, migrates the schema, or waits for it: `delivery-worker [migrate | await-schema]`."""

import sys
from collections.abc import Callable

from chatcore.errors import ConfigurationError
from chatcore.lifecycle import EXIT_CONFIGURATION, run
from chatcore.settings import read_settings

from delivery_worker.app import WorkerApp
from delivery_worker.schema import await_schema, migrate
from delivery_worker.settings import MySQLSettings, WorkerSettings


def main() -> int:
    """Give the process's exit code."""
    match sys.argv[1:]:
        case []:
            return run("delivery-worker", WorkerSettings, WorkerApp)
        case ["migrate"]:
            return _run(migrate, "schema at version {}")
        case ["await-schema"]:
            return _run(await_schema, "the schema serves this release")
        case _:
            print("usage: delivery-worker [migrate | await-schema]", file=sys.stderr)  # noqa: T201 - a command line
            return EXIT_CONFIGURATION


def _run(command: Callable[[MySQLSettings], str | None], told: str) -> int:
    try:
        found = command(read_settings(MySQLSettings))
    except ConfigurationError as error:
        print(f"delivery-worker: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return EXIT_CONFIGURATION
    print(told.format(found))  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main())
