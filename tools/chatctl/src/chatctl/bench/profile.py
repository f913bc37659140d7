"""Owns the flame graphs of a window: one py-spy per service, which samples it from outside."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from chatctl.bench.result import RESULTS

SAMPLES_PER_S: Final = 200
END_S: Final = 30.0
"""Seconds for py-spy to draw what it sampled."""


class Profile:
    """py-spy on each of `pids` from now until `end`. Where it may not trace a process, it says so itself."""

    def __init__(self, pids: Sequence[tuple[str, int]], scenario: str) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        self._processes = [self._start(pid, RESULTS / f"{scenario}-{name}.svg") for name, pid in pids]

    def _start(self, pid: int, path: Path) -> subprocess.Popen[bytes]:
        spy = Path(sys.executable).with_name("py-spy")
        command = (str(spy), "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), "--nonblocking")
        return subprocess.Popen((*command, "--output", str(path)), stdout=subprocess.DEVNULL)

    def end(self) -> None:
        """Stop sampling and write the graphs."""
        for process in self._processes:
            process.send_signal(2)  # py-spy draws on SIGINT
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            process.kill()
