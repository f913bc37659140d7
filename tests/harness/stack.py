"""Owns the private stack of a test run: started as a user would, driven and broken through its `stack.json`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from chatctl.stack.running import RunningStack

UP_S = 300
"""Seconds for a start, the making of a real MySQL's tree included."""


class Stack(RunningStack):
    """A stack that a test started."""

    @classmethod
    async def start(
        cls,
        folder: Path,
        *,
        gateways: int = 2,
        workers: int = 2,
        presence: int = 1,
        environment: Mapping[str, str] | None = None,
        database: str = "mariadb",
    ) -> "Stack":
        """Start one; returns when it is ready."""
        counts = (f"--gateways={gateways}", f"--workers={workers}", f"--presence={presence}", f"--database={database}")
        settings = [f"--set={name}={value}" for name, value in (environment or {}).items()]
        await asyncio.to_thread(
            _run,
            "up",
            "--detach",
            "--fresh",
            f"--dir={folder}",
            "--port=0",
            f"--owner={os.getpid()}",
            *counts,
            *settings,
        )
        return cls(folder)

    async def stop(self) -> None:
        """Stop it, in order."""
        await asyncio.to_thread(_run, "down", f"--dir={self.folder}")


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatctl", *arguments], capture_output=True, text=True, timeout=UP_S, check=False
    )
    assert done.returncode == 0, f"chatctl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
