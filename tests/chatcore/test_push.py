"""The push codec: records joined in a publication, their payloads, and what is damaged."""

from collections.abc import Callable
from typing import Any

import pytest
from chatcore.errors import Close, CodecError, Refusal
from chatcore.push import (
    Admission,
    Kind,
    Page,
    close_payload,
    presence_payload,
    read_close,
    read_presence,
    record,
    records,
)
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
one_record = st.tuples(st.sampled_from(Kind), st.integers(0, 2**64 - 1), st.binary(max_size=60))


@given(st.lists(one_record, max_size=6))
def test_a_publication_is_read_as_it_was_written(written: list[tuple[Kind, int, bytes]]) -> None:
    assert list(records(b"".join(record(*one) for one in written))) == written


@given(st.lists(one_record, min_size=1, max_size=4), st.data())
def test_a_publication_cut_short_gives_whole_records_and_then_a_codec_error(
    written: list[tuple[Kind, int, bytes]], data: st.DataObject
) -> None:
    last = record(*written[-1])
    whole = b"".join(record(*one) for one in written)
    cut = data.draw(st.integers(1, len(last) - 1))
    found: list[tuple[int, int, bytes]] = []
    with pytest.raises(CodecError):
        found.extend(records(whole[:-cut]))
    assert found == written[:-1]


@given(st.integers(0, 2**32 - 1), texts, texts, st.binary(max_size=60))
def test_a_page_is_read_as_it_was_written(number: int, position: str, token: str, frame: bytes) -> None:
    page = Page(number, position, token, frame)
    assert Page.decode(page.encode()) == page


@given(st.integers(0, 2**32), st.none() | st.sampled_from(Refusal))
def test_an_admission_is_read_as_it_was_written(number: int, refusal: Refusal | None) -> None:
    assert Admission.decode(Admission(number, refusal).encode()) == Admission(number, refusal)


@given(st.sampled_from(Close), texts)
def test_a_close_is_read_as_it_was_written(code: Close, reason: str) -> None:
    assert read_close(close_payload(code, reason)) == (code, reason)


@given(st.from_regex(r"[A-Za-z0-9._\-@:+]{1,64}", fullmatch=True), st.binary(max_size=60))
def test_presence_is_read_as_it_was_written(user: str, frame: bytes) -> None:
    assert read_presence(presence_payload(user, frame)) == (user, frame)


@given(st.binary(max_size=40))
def test_a_damaged_payload_is_a_codec_error_and_nothing_else(payload: bytes) -> None:
    readers: tuple[Callable[[bytes], Any], ...] = (Page.decode, Admission.decode, read_close, read_presence)
    for read in readers:
        try:
            read(payload)
        except CodecError:
            continue


@pytest.mark.parametrize(
    ("read", "payload"),
    [
        (Page.decode, b""),
        (Page.decode, Page(1, "p", "t", b"").encode()[:-1]),
        (Page.decode, Page(1, "p", "t", b"").encode()[:-2] + b"\xff\xff"),
        (Admission.decode, b""),
        (Admission.decode, b"1 unheard_of"),
        (Admission.decode, b"\xff"),
        (read_close, b"\x01"),
        (read_close, b"\x01\x02\xff"),
        (read_presence, b"bob"),
        (read_presence, b"\xff\0{}"),
    ],
)
def test_each_payload_has_damage_that_is_found(read: Callable[[bytes], Any], payload: bytes) -> None:
    with pytest.raises(CodecError):
        read(payload)
