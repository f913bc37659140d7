"""Owns programs of the distribution that a part of the tests needs: installed the first time, or why not is said."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
INSTALL_S: Final = 300


def program(name: str, package: str) -> str:
    """Give the path of a program; installs its package the first time, and skips the test where that fails."""
    if (found := shutil.which(name)) is not None:
        return found
    if shutil.which("apt-get") is None:
        pytest.skip(f"{name} is missing, and there is no apt-get to install {package} with")
    done = subprocess.run(
        [ROOT / "dev", "packages", package], capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode or (found := shutil.which(name)) is None:
        pytest.skip(f"{name} is missing, and could not be installed: {(done.stderr or done.stdout)[-300:]}")
    return found
