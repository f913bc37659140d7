"""`dead`: the frames that were given up on."""

from pathlib import Path

from cyclopts import App

from chatctl import deployment
from chatctl.operations import dead as letters
from chatctl.printing import Json, tell, tell_one

app = App(name="dead", help="The dead letters: frames that a worker gave up on, each with its reason.")


@app.command(name="list")
def list_(*, limit: int = 50, json: Json = False, dir: Path | None = None) -> None:  # noqa: A002 - the option's name
    """List the newest dead letters, without their bodies."""
    found = deployment.perform(letters.letters(deployment.find(dir), limit))
    tell(found, as_json=json, none="No dead letters.")


@app.command
def show(id: str, *, json: Json = False, dir: Path | None = None) -> None:  # noqa: A002 - the options' names
    """Show one dead letter whole. It holds what its sender wrote."""
    found = deployment.perform(letters.content(deployment.find(dir), id))
    letter = found.letter
    text = f"{letter.kind} from {letter.user} to {letter.peer}, entry {found.entry} of partition {letter.partition}"
    tell_one(found, as_json=json, text=f"{text}\nreason: {letter.reason}\ndata:   {found.data}")


@app.command
def requeue(*ids: str, dir: Path | None = None) -> None:  # noqa: A002 - the option's name
    """Put dead letters back into their streams: they are handled as if they had just come.

    Their senders were told a final error and have given them up; a message that goes back may surprise them.
    """
    where = deployment.find(dir)
    for letter in ids:
        print(f"{letter} is back in {deployment.perform(letters.requeue(where, letter))}")


@app.command
def drop(*ids: str, dir: Path | None = None) -> None:  # noqa: A002 - the option's name
    """Delete dead letters for good."""
    where = deployment.find(dir)
    for letter in ids:
        deployment.perform(letters.drop(where, letter))
        print(f"{letter} is gone")
