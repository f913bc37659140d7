"""`epoch`: the name of the database's state, renewed after a restore."""

from pathlib import Path

from cyclopts import App

from chatctl import deployment
from chatctl.operations import restore

app = App(name="epoch", help="The database's epoch: it changes when MySQL was restored from a backup.")


@app.command
def new(*, dir: Path | None = None) -> None:  # noqa: A002 - the option's name
    """Give the database a new epoch: run it after a restore, while no worker runs.

    Every client then drops its cursors, marks and messages, keeps what it has not sent, and syncs from the start.
    """
    print(f"the database's epoch is {deployment.perform(restore.renew_epoch(deployment.find(dir)))}")
