"""The clocks of single processes: each runs under libfaketime, which reads its offset from a file of ours.

Only the wall clock moves. Debian packages the library as `libfaketime`; where it is missing, clocks stay true.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

LIBRARIES: Final = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
"""Where distributions put the build for programs with threads."""

CACHE_S: Final = 1
"""Seconds for which a process believes the file that it read: a step takes so long to be noticed."""


def library() -> Path | None:
    """Find libfaketime."""
    root = Path("/")
    return next((path for pattern in LIBRARIES for path in sorted(root.glob(pattern.removeprefix("/")))), None)


def missing() -> str | None:
    """Say why clocks cannot be stepped here."""
    return None if library() else "libfaketime is not installed"


class Clocks:
    """The files that say how far each process's clock is off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def environment(self, name: str) -> Mapping[str, str]:
        """Return what a process has to be started with for its clock to obey; nothing where that cannot be."""
        found = library()
        if found is None:
            return {}
        self._write(name, 0)
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
            "FAKETIME_CACHE_DURATION": str(CACHE_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    @asynccontextmanager
    async def stepped(self, name: str, seconds: int) -> AsyncIterator[None]:
        """Step a process's clock, and step it back at the end of the block."""
        self._write(name, seconds)
        try:
            await asyncio.sleep(CACHE_S)
            yield
        finally:
            self._write(name, 0)

    def _file(self, name: str) -> Path:
        return self._folder / name

    def _write(self, name: str, seconds: int) -> None:
        fresh = self._folder / f"{name}.new"
        fresh.write_text(f"{seconds:+d}\n", encoding="ascii")
        fresh.replace(self._file(name))
