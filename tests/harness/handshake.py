"""Owns the wrong handshakes: a bare HTTP/1.1 request for the WebSocket, and the status and code that it gets."""

import asyncio
import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

UPGRADE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "chat.v1",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handshake got; `code` is the error's, empty after an upgrade."""

    status: int
    code: str
    headers: Mapping[str, str]


async def handshake(base: str, target: str, headers: Mapping[str, str | None], *, method: str = "GET") -> Answer:
    """Make one request. `headers` change those of a right upgrade; None leaves one out."""
    address = urlsplit(base)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    fields: dict[str, str | None] = {"Host": address.netloc, **UPGRADE, "Sec-WebSocket-Key": key, **headers}
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in fields.items() if value is not None),
    ]
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        async with asyncio.timeout(10):
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            return await _read_answer(reader)
    finally:
        writer.transport.abort()


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    status = int((await reader.readline()).split()[1])
    headers: dict[str, str] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    body = await reader.readexactly(length) if length else b""
    return Answer(status, _error_code(body) if status != 101 else "", headers)


def _error_code(body: bytes) -> str:
    """Read the code of `{"error":{"code":…,"message":…}}`; anything else names itself."""
    try:
        error = json.loads(body)["error"]
        return str(error["code"]) if error["message"] else "an error without a message"
    except (ValueError, KeyError, TypeError):
        return f"no error object: {body[:100]!r}"
