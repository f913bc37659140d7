"""`epoch`: the name of the database's state, renewed after a restore."""

from dataclasses import dataclass

from cyclopts import App

from chatctl import deployment
from chatctl.deployment import Dir
from chatctl.operations import restore
from chatctl.printing import Json, tell_one

app = App(name="epoch", help="The database's epoch: it changes when MySQL was restored from a backup.")


@dataclass(frozen=True, slots=True)
class Renewed:
    """The database's new epoch, as `welcome` names it from now on."""

    epoch: str


@app.command
def new(*, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Give the database a new epoch: run it after a restore, while no worker runs.

    Every client then drops its cursors, marks and messages, keeps what it has not sent, and syncs from the start.
    """
    renewed = Renewed(deployment.perform(restore.renew_epoch(deployment.find(dir))))
    tell_one(renewed, as_json=json, text=f"the database's epoch is {renewed.epoch}")
