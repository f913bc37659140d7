"""Owns the public keys: reads them from a file or a URL, again from time to time, and at an unknown key id.

A document that cannot be read changes nothing: the keys of the last good one stay.
"""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Final

import aiohttp
import orjson
from chatcore.logs import get_logger

from gateway.tokens import VerifyingKey, read_jwks

REREAD_S: Final = 300.0
"""Seconds between two readings: how long a key that was taken back still passes."""
COOL_DOWN_S: Final = 10.0
"""Seconds between two readings because of an unknown key id: a flood of bad tokens must not become one of requests."""
FETCH_S: Final = 5.0
MAX_BYTES: Final = 1024 * 1024

log = get_logger(__name__)


class Jwks:
    """The keys of a JWKS that rotates."""

    def __init__(self, *, file: str | None = None, url: str | None = None) -> None:
        self._file, self._url = file, url
        self._keys: dict[str, VerifyingKey] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> VerifyingKey | None:
        """Give the key. An unknown id makes the document be read again, once per cool-down."""
        if kid not in self._keys:
            async with self._lock:
                if kid not in self._keys and monotonic() - self._read_at > COOL_DOWN_S:
                    await self.refresh()
        return self._keys.get(kid)

    async def refresh(self) -> None:
        """Read the document."""
        self._read_at = monotonic()
        try:
            self._keys = read_jwks(orjson.loads(await self._fetch()))
        except (OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("jwks_unreadable", error=str(error))

    async def watch(self) -> None:
        """Read it again from time to time, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REREAD_S)

    async def _fetch(self) -> bytes:
        if self._file is not None:
            async with asyncio.timeout(FETCH_S):
                return await asyncio.to_thread(Path(self._file).read_bytes)
        timeout = aiohttp.ClientTimeout(total=FETCH_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(str(self._url)) as response:
            response.raise_for_status()
            chunks, size = [], 0
            async for chunk in response.content.iter_chunked(65_536):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_BYTES:
                    raise ValueError(f"the JWKS is larger than {MAX_BYTES} bytes")
            return b"".join(chunks)
