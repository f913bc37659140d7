"""Owns programs of the distribution that a part of the tests needs: installed the first time, or why not is said."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from chatctl.failure import Failure
from chatctl.stack.executables import find

ROOT: Final = Path(__file__).parents[2]
INSTALL_S: Final = 300


def program(name: str, package: str, *beside: str) -> str:
    """Give the path of a program; installs its packages the first time, and skips the test where that fails."""
    try:
        return find(name, package=package)
    except Failure:
        return _installed(name, package, *beside)


def _installed(name: str, *packages: str) -> str:
    if shutil.which("apt-get") is None:
        pytest.skip(f"{name} is missing, and there is no apt-get to install {packages[0]} with")
    done = subprocess.run(
        [ROOT / "dev", "packages", *packages], capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    try:
        return find(name, package=packages[0])
    except Failure:
        pytest.skip(f"{name} is missing, and could not be installed: {(done.stderr or done.stdout)[-300:]}")
