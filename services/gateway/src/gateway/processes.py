"""Owns `gateway --processes N`: a parent of N gateways that share one port. It starts and ends them, and serves nobody.

Each of them is a gateway as any other, with an id and a metrics port of its own. The kernel spreads new connections
over their listeners (SO_REUSEPORT, socket(7)).
"""

import asyncio
import ctypes
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from chatcore.errors import ConfigurationError
from chatcore.lifecycle import Step, Supervisor
from chatcore.logs import get_logger

from gateway.leaving import shortest_shutdown_s
from gateway.settings import GatewaySettings

PARENT_S: Final = 1.0
"""Seconds of `CHAT_SHUTDOWN_S` that the parent keeps to itself, to see the end of the others."""
MOST: Final = 64
"""Processes that may be asked for: more is a slip of the keyboard."""
NAME_CHARS: Final = 37
"""Of the name that are kept, so that a number fits behind it."""
PR_SET_PDEATHSIG: Final = 1
"""prctl(2): the signal that a process gets when its parent is gone."""

log = get_logger(__name__)


class ProcessEnded(Exception):
    """A gateway ended that nobody had asked to."""


class Processes:
    """The gateways of one machine, as one service. One that dies ends them all: whoever keeps it starts it anew."""

    def __init__(self, settings: GatewaySettings, *, count: int) -> None:
        _check(settings)
        self._shutdown_s = settings.shutdown_s
        self._environments = environments(settings, count)
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, supervisor: Supervisor) -> None:
        """Start them all. Each says in its own log when it serves, and on its own port whether it is ready."""
        bind = _bind_to_parent()
        for name, environment in self._environments.items():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway"),
                env={**os.environ, **environment},
                preexec_fn=bind,
            )
            log.info("process_started", process=name, pid=process.pid)
            self._running[name] = process
            supervisor.spawn(name, self._watch(name, process))

    def shutdown(self) -> Sequence[Step]:
        """End them all at once, each in its own order."""
        return (Step("stop_processes", self._stop, within_s=self._shutdown_s),)

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        """See one's end. One that was drained by hand is missed by nobody, unless it was the last."""
        if code := await process.wait():
            raise ProcessEnded(f"{name} ended with {code}")
        log.info("process_left", process=name)
        if all(one.returncode is not None for one in self._running.values()):
            signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    async def _stop(self) -> None:
        alive = [process for process in self._running.values() if process.returncode is None]
        for process in alive:
            process.terminate()
        try:
            await asyncio.gather(*(process.wait() for process in alive))
        finally:
            for process in alive:
                if process.returncode is None:
                    process.kill()


def asked(arguments: Sequence[str]) -> int:
    """Read how many processes the command line asks for; 1 if it says nothing. Ends the program at a bad one."""
    parser = ArgumentParser(prog="gateway", description="A gateway. Its settings are variables: CHAT_….")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="gateways that share the port (1)")
    count: int = parser.parse_args(arguments).processes
    if not 1 <= count <= MOST:
        parser.error(f"--processes: 1 to {MOST}")
    return count


def environments(settings: GatewaySettings, count: int) -> Mapping[str, Mapping[str, str]]:
    """Give what is different for each, by its name: the name itself, the metrics port (the first's, then upwards)."""
    base = settings.metrics_port
    names = [f"{settings.name[:NAME_CHARS]}-{number}" for number in range(1, count + 1)]
    return {
        name: {
            "CHAT_NAME": name,
            "CHAT_METRICS_PORT": str(base + place if base else 0),
            "CHAT_REUSE_PORT": "true",
            "CHAT_SHUTDOWN_S": f"{settings.shutdown_s - PARENT_S:g}",
        }
        for place, name in enumerate(names)
    }


def _check(settings: GatewaySettings) -> None:
    if not settings.port:
        raise ConfigurationError("CHAT_PORT=0: several processes need a port that they can share")
    least_s = shortest_shutdown_s(settings.prestop_s) + PARENT_S
    if settings.shutdown_s < least_s:
        raise ConfigurationError(f"CHAT_SHUTDOWN_S: several processes need {least_s:g} at least")


def _bind_to_parent() -> Callable[[], object] | None:
    """Give what a child does first: orphans that still share the port would take clients from their successors."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
