"""The command line: owns which commands there are and how a failure is told; the commands do the work."""

import sys

from cyclopts import App

from chatctl.commands import asyncapi, bench, chat, down, logs, revoke, token, up
from chatctl.failure import Failure

app = App(name="chatctl", help="The local stack of the chat backend, and what people need around it.", version_flags=[])
for command in (up.up, down.down, token.token, chat.chat, logs.logs, revoke.revoke, asyncapi.asyncapi):
    app.command(command)
app.command(bench.app)


def main() -> None:
    """Run one command and exit with its code: 0, or 1 with a message on standard error."""
    try:
        app()
    except Failure as failure:
        print(failure.told(), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
