"""The key map: names, groups and members."""

import pytest
from chatcore.errors import CodecError
from chatcore.ids import ConnectionNumber, DeviceId, GatewayId
from chatcore.keys import Keys, Member, epoch_of, group_of
from hypothesis import given
from hypothesis import strategies as st

ids = st.from_regex(r"[A-Za-z0-9._\-]{1,64}", fullmatch=True)


def all_names(keys: Keys) -> list[str]:
    single = [keys.workers, keys.meta, keys.presence, keys.sync, keys.deadlines, keys.swept, keys.dead]
    of_user = [make("bob") for make in (keys.devices, keys.seen, keys.watch)]
    return [*single, *of_user, keys.inbox(3), keys.gateway("gw-1.0a"), keys.channel("gw-1.0a")]


def test_every_key_begins_with_the_prefix_and_no_two_are_equal() -> None:
    names = all_names(Keys("one"))
    assert all(name.startswith("one:") for name in names)
    assert len(set(names)) == len(names)
    assert not set(names) & set(all_names(Keys("two")))


def test_all_keys_of_a_user_lie_on_one_node_of_a_cluster() -> None:
    keys = Keys()
    for name in (keys.devices("bob"), keys.seen("bob"), keys.watch("bob")):
        assert name[name.index("{") + 1 : name.index("}")] == "bob"
    assert keys.inbox(7) == "chat:in:{7}"


@given(ids, ids, st.integers(1, 2**53), st.integers(0, 2**53))
def test_a_member_is_read_as_it_was_written(device: str, gateway: str, connection: int, entered_ms: int) -> None:
    member = Member(DeviceId(device), GatewayId(gateway), ConnectionNumber(connection), entered_ms)
    assert Member.decode(member.encode().encode()) == member


@pytest.mark.parametrize(
    "raw", [b"", b"phone", b"a|b|c|d", b"a|b|1", b"a|b|1|2|3", b"a|b|1|", "ä|b|1|2".encode(), b"\xff"]
)
def test_a_damaged_member_is_a_codec_error(raw: bytes) -> None:
    with pytest.raises(CodecError):
        Member.decode(raw)


@given(st.integers(0, 2**63 - 1))
def test_an_epoch_is_read_off_its_groups_name(epoch: int) -> None:
    assert epoch_of(group_of(epoch).encode()) == epoch


@pytest.mark.parametrize(
    "group", [b"", b"delivery", b"delivery-", b"delivery-x", b"delivery--1", b"other-1", b"presence"]
)
def test_a_group_that_no_owner_made_has_no_epoch(group: bytes) -> None:
    assert epoch_of(group) == -1
