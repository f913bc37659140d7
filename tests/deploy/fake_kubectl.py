"""A kubectl for tests: notes each call in a file, answers as a cluster on which all goes well, and forwards ports.

What it is to do otherwise stands in the environment: FAKE_FAILS, words of calls that fail; FAKE_GATEWAY, host and port
of a gateway that runs; FAKE_SECRET, the secret of its tokens; FAKE_CALLS, the file.
"""

import asyncio
import base64
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 65_536


def main(arguments: list[str]) -> int:
    """Answer one call; gives its exit code."""
    call = " ".join(arguments)
    with Path(os.environ["FAKE_CALLS"]).open("a", encoding="utf-8") as calls:
        calls.write(f"{call}\n")
    if any(words in call for words in os.environ.get("FAKE_FAILS", "get namespace").split(",") if words):
        return 1
    if "port-forward" in call:
        asyncio.run(_forward(int(arguments[-1].partition(":")[0])))
    sys.stdout.write(_said(call))
    return 0


def _said(call: str) -> str:
    if "get pods --selector" in call:
        part = call.partition("name=")[2].split()[0]
        return f"pod/{part}-1\npod/{part}-2\n"
    if "get deployment gateway" in call:
        return "chat-jwt-0123456789"
    if "get secret chat-jwt-0123456789" in call:
        return base64.b64encode(os.environ["FAKE_SECRET"].encode()).decode()
    return ""


async def _forward(port: int) -> None:
    host, _, to = os.environ["FAKE_GATEWAY"].rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection(host, int(to))
            await asyncio.gather(_copy(reader, back), _copy(there, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
