"""Owns how a test runs a command of the project as a person does."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMMAND_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Read what it printed."""
        return json.loads(self.out)


async def chatctl(*arguments: str, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatctl", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    async with asyncio.timeout(COMMAND_S):
        out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())
