"""`explain`: what became of one message."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from chatctl import deployment
from chatctl.deployment import Deployment, Dir
from chatctl.failure import Failure
from chatctl.operations import explain as messages
from chatctl.operations.explanation import Explanation
from chatctl.operations.spans import Step
from chatctl.printing import Json, tell, tell_one
from chatctl.stack.logs import folder_in

STDIN = Path("-")


def explain(
    user: str,
    peer: str,
    which: str,
    *,
    logs: tuple[Path, ...] = (),
    json: Json = False,
    dir: Dir = None,  # noqa: A002 - the option's name
) -> None:
    """Tell one message's time line: where it was accepted, handled, committed and published, who has it, who read it.

    Parameters
    ----------
    which
        The message's number in the conversation, or the id that its client gave it (then the first user's is
        looked for before the peer's).
    logs
        Files or folders of the services' logs, or `-` for standard input; the default is a local stack's own. Times
        are in them only where the message was traced to the log (`CHAT_TRACE_ENDPOINT=log`).
    """
    where = deployment.find(dir)
    lines = list(_lines(logs, where))
    found = deployment.perform(messages.explain(where, user, peer, which, lines))
    if json:
        tell_one(found, as_json=True, text="")
    else:
        _print(found)


def _lines(logs: Sequence[Path], where: Deployment) -> Iterator[str]:
    if not logs and where.folder is not None:
        logs = (folder_in(where.folder),)
    for path in chain.from_iterable(map(_files, logs)):
        if path == STDIN:
            yield from sys.stdin
        else:
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from file


def _files(path: Path) -> Sequence[Path]:
    """Give the files of a folder, those that were put aside (`.log.1`) first. Raises `Failure`."""
    if path.is_dir():
        return sorted((file for file in path.iterdir() if ".log" in file.name), key=lambda file: file.suffix != ".1")
    if path != STDIN and not path.is_file():
        raise Failure(f"no log at {path}", advice="name files or folders of logs, or - for standard input")
    return (path,)


@dataclass(frozen=True, slots=True)
class Line:
    """A step as a person reads it."""

    at: str
    step: str
    where: str
    detail: str


def _line(step: Step) -> Line:
    at = datetime.fromtimestamp(step.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Line(at, step.step, step.where, step.detail)


def _print(found: Explanation) -> None:
    one, other = found.users
    number = f"message {found.seq} of {found.last}" if found.seq is not None else "a message without a number"
    print(f"{number} between {one} and {other}, id {found.client_id}: {found.state}")
    size = f", {found.body_bytes} bytes" if found.body_bytes is not None else ""
    print(f"from {found.sender}'s {found.device or 'device'}{size}; conversation {found.conversation}")
    owner = f"{found.owner}'s, epoch {found.epoch}" if found.owner else "nobody's"
    print(f"partition {found.partition} is now {owner}")
    for mark in found.marks:
        print(f"{mark.user}: delivered up to {mark.delivered}, read up to {mark.read}")
    print()
    tell([_line(step) for step in found.steps], as_json=False, none="Nothing is known of its way.")
    print()
    tell(found.devices, as_json=False, none="Neither has a device.")
    for gap in found.not_recorded:
        print(f"\nnot recorded: {gap}")
