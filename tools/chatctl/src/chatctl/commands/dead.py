"""`dead`: the frames that were given up on."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from cyclopts import App

from chatctl import deployment
from chatctl.deployment import Deployment, Dir
from chatctl.operations import dead as letters
from chatctl.operations.dead import Handled
from chatctl.printing import Json, tell, tell_one

Act = Callable[[Deployment, str], Coroutine[Any, Any, Handled]]

app = App(name="dead", help="The dead letters: frames that a worker gave up on, each with its reason.")


@app.command(name="list")
def list_(*, limit: int = 50, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """List the newest dead letters, without their bodies.

    Parameters
    ----------
    limit
        How many.
    """
    found = deployment.perform(letters.letters(deployment.find(dir), limit))
    tell(found, as_json=json, none="No dead letters.")


@app.command
def show(id: str, *, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the options' names
    """Show one dead letter whole. It holds what its sender wrote."""
    found = deployment.perform(letters.content(deployment.find(dir), id))
    letter = found.letter
    text = f"{letter.kind} from {letter.user} to {letter.peer}, entry {found.entry} of partition {letter.partition}"
    tell_one(found, as_json=json, text=f"{text}\nreason: {letter.reason}\ndata:   {found.data}")


@app.command
def requeue(*ids: str, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Put dead letters back into their streams: they are handled as if they had just come.

    Their senders were told a final error and have given them up; a message that goes back may surprise them.
    """
    _each(ids, letters.requeue, deployment.find(dir), as_json=json)


@app.command
def drop(*ids: str, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Delete dead letters for good."""
    _each(ids, letters.drop, deployment.find(dir), as_json=json)


def _each(ids: Sequence[str], act: Act, where: Deployment, *, as_json: bool) -> None:
    """Do one after the other, and tell those that were done, also where the next one fails."""
    done: list[Handled] = []
    try:
        for letter in ids:
            handled = deployment.perform(act(where, letter))
            done.append(handled)
            if not as_json:
                print(f"{letter} is {f'back in {handled.back_in}' if handled.back_in else 'gone'}")
    finally:
        if as_json:
            tell(done, as_json=True, none="")
