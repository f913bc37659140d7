"""`logs`: what the stack's processes wrote."""

import subprocess

from chatctl.deployment import LOCAL, LocalDir
from chatctl.failure import Failure
from chatctl.stack.logs import folder_in


def logs(*names: str, follow: bool = False, lines: int = 50, dir: LocalDir = LOCAL) -> None:  # noqa: A002 - the option's name
    """Print the end of the logs of all processes, or of those named: `gateway-1`, `worker-2`, `mysql`.

    Parameters
    ----------
    follow
        Go on printing what comes.
    lines
        How many lines of each.
    """
    folder = folder_in(dir.resolve())
    found = sorted(path for path in folder.glob("*.log") if not names or path.stem in names)
    if not found:
        raise Failure(
            f"no such log in {folder}", advice="names are those of `stack.json`: gateway-1, worker-1, redis …"
        )
    command = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), "--", *map(str, found)]
    subprocess.run(command, check=False)
