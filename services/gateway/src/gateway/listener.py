"""Owns the socket on which clients arrive, and how much of them the kernel keeps."""

import socket
from typing import Final

from chatcore.errors import ConfigurationError

BACKLOG: Final = 4096
"""Connections that wait to be accepted: a storm after another gateway's end is no reason to refuse any."""
SEND_BUFFER_BYTES: Final = 32 * 1024
"""Of each socket in the kernel: a client that stops reading takes 69 KB instead of 3 MB."""


def listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """Bind, ready for a server to listen. `shared`: with other processes of the same user.

    Raises `ConfigurationError` when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)  # noqa: FBT003 - the standard library takes it so
    return listener
