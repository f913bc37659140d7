"""Reads what a client asks MySQL, off the bytes of its connection: where a request ends, and whether it commits. Pure.

The packets are those of MySQL's client/server protocol, "Protocol Basics": three bytes of length, little end first, a
number that is 0 for a request, and the payload, whose first byte names the command.
"""

from typing import Final

from chatctl.faults.toxics import Hears

HEAD_BYTES: Final = 4
COM_QUERY: Final = 3
COMMIT: Final = b"COMMIT"


def commits() -> Hears:
    """Make who listens to one connection and tells when a COMMIT has passed."""
    return Requests().hear


class Requests:
    """The requests of one connection, put together of the pieces in which they pass."""

    def __init__(self) -> None:
        self._heard = bytearray()

    def hear(self, piece: bytes) -> bool:
        """Take a piece; tells whether a request ended in it that commits."""
        self._heard += piece
        committed = False
        while len(self._heard) >= HEAD_BYTES:
            length, number = int.from_bytes(self._heard[:3], "little"), self._heard[3]
            if number:
                # Who began to listen within a request hears the rest of it first: the next one begins a piece.
                self._heard.clear()
            elif len(self._heard) < HEAD_BYTES + length:
                break
            else:
                committed |= is_commit(bytes(self._heard[HEAD_BYTES : HEAD_BYTES + length]))
                del self._heard[: HEAD_BYTES + length]
        return committed


def is_commit(payload: bytes) -> bool:
    """Tell whether a request is a query that is COMMIT, or whose last statement is.

    A text that ends so within quotes ends with a quote.
    """
    return payload[:1] == bytes([COM_QUERY]) and payload[1:].rpartition(b";")[2].strip() == COMMIT
