"""Asks the service beside it whether it is well: `python -m chatcore.healthcheck /healthz`, the images' HEALTHCHECK.

It runs every few seconds in every container, so it must stay light: the standard library alone, and little of that.
"""

import os
import socket
import sys
from collections.abc import Mapping
from typing import Final

HEALTHY: Final = 0
UNHEALTHY: Final = 1
"""The two that a HEALTHCHECK may give: https://docs.docker.com/reference/dockerfile/#healthcheck"""

ANSWER_S: Final = 2.0
"""Seconds for each step. An event loop that stands still for longer serves nobody; below the image's own time-out,
so that what is the matter is told."""

ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - who listens everywhere is asked at the loopback


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Ask for the path that the command line names, where the service's own variables say that it listens."""
    [path] = sys.argv[1:]
    host = environment.get("CHAT_METRICS_HOST") or "127.0.0.1"
    try:
        status = _ask(ANY.get(host, host), int(environment["CHAT_METRICS_PORT"]), path)
    except OSError as error:
        print(f"no answer: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return UNHEALTHY
    print(status)  # noqa: T201 - a command line
    return HEALTHY if " 200 " in status else UNHEALTHY


def _ask(host: str, port: int, path: str) -> str:
    """Give the answer's first line. Raises `OSError` when none comes."""
    with socket.create_connection((host, port), timeout=ANSWER_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.readline(256).decode("latin-1").strip()


if __name__ == "__main__":
    sys.exit(main())
