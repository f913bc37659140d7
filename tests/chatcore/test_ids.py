"""Ids: which are valid, and that they are compared byte for byte."""

import pytest
from chatcore.ids import conversation_id, is_client_id, is_device_id, is_user_id, partition_of
from hypothesis import given
from hypothesis import strategies as st

LETTERS = "abcXYZ059"
user_ids = st.text("".join(sorted(set(LETTERS + "._-@:+"))), min_size=1, max_size=64)


@pytest.mark.parametrize("user", ["a", "Alice", "a.b_c-d", "a@b:c+d", "0", "x" * 64])
def test_a_user_id_of_its_alphabet_is_valid(user: str) -> None:
    assert is_user_id(user)


@pytest.mark.parametrize(
    "user", ["", "x" * 65, "a b", "a ", " a", "a\n", "\na", "a\0", "ä", "a/b", "a|b", "a{b}", "é", "\uff11"]
)
def test_any_other_user_id_is_not(user: str) -> None:
    assert not is_user_id(user)


@pytest.mark.parametrize("device", ["", "x" * 65, "a@b", "a:b", "a+b", "a|b", "a ", "a\n", "\u0661"])
def test_a_device_id_has_no_at_colon_plus_or_bar(device: str) -> None:
    assert not is_device_id(device)


@pytest.mark.parametrize("client_id", ["", "x" * 65, "a.b", "a@b", "a\n", "a "])
def test_a_client_id_has_no_dot(client_id: str) -> None:
    assert not is_client_id(client_id)


@given(user_ids, user_ids)
def test_both_users_name_the_same_conversation(one: str, other: str) -> None:
    assert conversation_id(one, other) == conversation_id(other, one)
    assert len(conversation_id(one, other)) == 16


@given(user_ids, user_ids, user_ids, user_ids)
def test_no_two_pairs_share_a_conversation(a: str, b: str, c: str, d: str) -> None:
    same = {a, b} == {c, d} and sorted((a, b)) == sorted((c, d))
    assert (conversation_id(a, b) == conversation_id(c, d)) == same


@pytest.mark.parametrize("other", ["Alice", "alice.", "alic", "alice@"])
def test_users_that_differ_by_a_byte_have_other_conversations(other: str) -> None:
    assert conversation_id("alice", "bob") != conversation_id(other, "bob")


def test_a_conversations_name_never_changes() -> None:
    """It is stored: another hash would lose every conversation there is."""
    assert conversation_id("alice", "bob").hex() == "85cd2a7809b33aada11e04c34f593018"


@given(user_ids, user_ids, st.integers(1, 1024))
def test_a_conversation_lies_in_one_of_the_partitions(one: str, other: str, partitions: int) -> None:
    assert 0 <= partition_of(conversation_id(one, other), partitions) < partitions


def test_partitions_share_the_conversations() -> None:
    found = {partition_of(conversation_id(f"user-{n}", "bob"), 32) for n in range(2_000)}
    assert found == set(range(32))
