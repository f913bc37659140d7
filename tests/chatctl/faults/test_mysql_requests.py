"""A request that commits is told from all that merely speaks of it, in whatever pieces it passes."""

import pytest
from chatctl.faults.mysql_requests import Requests


def packet(sql: str, *, command: int = 3) -> bytes:
    payload = bytes([command]) + sql.encode()
    return len(payload).to_bytes(3, "little") + b"\0" + payload


@pytest.mark.parametrize("sql", ["COMMIT", "BEGIN; INSERT INTO message VALUES (1); COMMIT"])
def test_a_commit_by_itself_or_behind_others_is_one(sql: str) -> None:
    assert Requests().hear(packet(sql))


@pytest.mark.parametrize(
    "request_",
    [
        packet("INSERT INTO message VALUES ('COMMIT')"),
        packet("INSERT INTO message VALUES ('to do; COMMIT')"),
        packet("COMMIT; SELECT 1"),
        packet("COMMITTED"),
        packet("COMMIT", command=22),
    ],
)
def test_a_request_that_only_speaks_of_a_commit_is_none(request_: bytes) -> None:
    assert not Requests().hear(request_)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1_000])
def test_a_commit_is_heard_once_it_has_passed_whole(size: int) -> None:
    requests = Requests()
    data = packet("SELECT 1") + packet("BEGIN; COMMIT")
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [requests.hear(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_who_begins_to_listen_within_a_request_hears_the_next_one() -> None:
    requests = Requests()
    assert not requests.hear(packet("INSERT INTO message VALUES ('; COMMIT')")[9:])
    assert requests.hear(packet("COMMIT"))
