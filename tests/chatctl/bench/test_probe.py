"""What is seen of a process from outside."""

import os

from chatctl.bench.probe import peak_rss_bytes, rss_bytes

HELD_BYTES = 64 * 2**20


def test_memory_that_was_given_back_still_shows_in_the_peak() -> None:
    before = rss_bytes(os.getpid())
    held = b"x" * HELD_BYTES
    del held
    assert peak_rss_bytes(os.getpid()) - before > HELD_BYTES * 0.9
