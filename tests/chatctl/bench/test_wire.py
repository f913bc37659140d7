"""The load's own WebSocket frames, however the stream is cut."""

import pytest
from chatctl.bench import wire
from hypothesis import given
from hypothesis import strategies as st


def server_frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return bytes((0x81, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x81, 127)) + size.to_bytes(8, "big") + payload


@given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000]), max_size=6), st.data())
def test_frames_come_out_whole_however_the_stream_is_cut(sizes: list[int], data: st.DataObject) -> None:
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    stream = b"".join(server_frame(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    reader, frames = wire.Reader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += reader.feed(stream[begin:end])
    assert frames == [(wire.TEXT, payload) for payload in payloads]


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_a_client_frame_is_final_and_masked(size: int) -> None:
    frame = wire.text(b"x" * size)
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    assert frame.endswith(bytes(4) + b"x" * size)
