"""Owns a device in a process of its own, made to be held with SIGSTOP.

`python -m tests.harness.vanishing URL TOKEN DEVICE` connects and answers pings until it is killed; it never
acknowledges anything.
"""

import asyncio
import sys

from chatctl.verify.connection import RawConnection


async def main(base: str, token: str, device: str) -> None:
    """Connect and read for ever."""
    connection = await RawConnection.open(base, token, device)
    while True:
        await connection.receive(timeout_s=3600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
