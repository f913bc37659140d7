"""Finds the programs that a stack is made of. It installs none: that is the launcher's part."""

import shutil

from chatctl.failure import Failure

SERVER_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/bin:/usr/local/bin"
"""Where servers lie that a user's PATH may leave out; Debian keeps mariadbd in the first."""


def find(program: str, *, package: str) -> str:
    """Return a program's path, or fail and name the package that has it."""
    path = shutil.which(program) or shutil.which(program, path=SERVER_FOLDERS)
    if path is None:
        raise Failure(
            f"{program} is not installed",
            advice=f"install {package} (`./dev up` does so on Debian and Ubuntu), or use `docker compose up`",
        )
    return path
