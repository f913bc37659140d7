"""The command line: owns which commands there are and how a failure is told; the commands do the work."""

import sys

from cyclopts import App

from chatctl.commands import (
    accounts,
    asyncapi,
    bench,
    chat,
    check,
    dead,
    down,
    drain,
    epoch,
    explain,
    kick,
    logs,
    looks,
    revoke,
    simulate,
    token,
    up,
    verify,
)
from chatctl.failure import Failure

app = App(name="chatctl", help="The local stack of the chat backend, and what people need around it.", version_flags=[])
COMMANDS = (
    *(up.up, down.down, token.token, chat.chat, logs.logs, asyncapi.asyncapi),
    *(looks.backlog, looks.partitions, looks.owners, looks.who, check.check, explain.explain),
    *(accounts.acl, accounts.grants),
    *(kick.kick, revoke.revoke, drain.drain, dead.app, epoch.app, bench.app, simulate.simulate, verify.verify),
)
for command in COMMANDS:
    app.command(command)


def main() -> None:
    """Run one command and exit with its code: 0, or 1 with a message on standard error."""
    try:
        app()
    except Failure as failure:
        print(failure.told(), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
