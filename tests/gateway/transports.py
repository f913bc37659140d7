"""A transport that keeps what was written and drains when told."""

import asyncio


class FakeTransport(asyncio.Transport):
    """Takes up to what is given, then holds the rest as a full kernel would make it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.room = 1 << 60
        self.buffered = 0
        self.aborted = self.shut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.shut
        self.written.append(bytes(data))
        taken = min(self.room, len(data))
        self.room -= taken
        self.buffered += len(data) - taken

    def drain(self) -> None:
        """The peer reads on."""
        self.room, self.buffered = 1 << 60, 0

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def is_closing(self) -> bool:
        return self.shut

    def close(self) -> None:
        self.shut = True

    def abort(self) -> None:
        self.shut = self.aborted = True
