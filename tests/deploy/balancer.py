"""Owns a running HAProxy with the configuration of compose.yaml: only the addresses are other ones."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatctl.stack import ports

from tests.harness.programs import ROOT, program

CONFIGURATION: Final = ROOT / "deploy" / "compose" / "haproxy.cfg"
MOST: Final = "maxconn 2000"
"""Here: a test's process may open few files."""
START_S: Final = 30


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where a gateway listens here."""

    port: int
    metrics_port: int


@asynccontextmanager
async def balanced(folder: Path, gateways: Mapping[str, Gateway]) -> AsyncIterator[str]:
    """Run HAProxy before gateways, by their names in the configuration; gives the URL for clients.

    It takes clients once every gateway was seen to be ready.
    """
    port, health_port = ports.private(2)
    file = folder / "haproxy.cfg"
    file.write_text(_moved(gateways, port, health_port), encoding="utf-8")
    haproxy = program("haproxy", "haproxy")
    await asyncio.to_thread(_check, haproxy, file)
    with (folder / "haproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(haproxy, "-f", file, stdout=log, stderr=log)
    try:
        await _ready(health_port, process)
        yield f"ws://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def _check(haproxy: str, file: Path) -> None:
    done = subprocess.run([haproxy, "-c", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _moved(gateways: Mapping[str, Gateway], port: int, health_port: int) -> str:
    """Write the configuration with other addresses."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    for pattern, told in (
        (r"bind :8080$", f"bind 127.0.0.1:{port}"),
        (r"bind 127\.0\.0\.1:8404$", f"bind 127.0.0.1:{health_port}"),
        (r"maxconn 20000$", MOST),
        (r"nbsrv\(gateways\) lt 1 ", f"nbsrv(gateways) lt {len(gateways)} "),
        *(
            (rf"server {name} {name}:8080$", f"server {name} 127.0.0.1:{one.port} port {one.metrics_port}")
            for name, one in gateways.items()
        ),
    ):
        text, count = re.subn(pattern, told, text, flags=re.MULTILINE)
        assert count == 1, pattern
    return text


async def _ready(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_S):
        while not await _answers_200(port):
            assert process.returncode is None, "HAProxy ended"
            await asyncio.sleep(0.1)


async def _answers_200(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
