"""The error tree: every code and refusal has its place in the tables."""

from chatcore.errors import HTTP_STATUS, RETRYABLE, STRIKES, Close, Code, Refusal


def test_every_refusal_has_its_http_status() -> None:
    assert HTTP_STATUS.keys() == set(Refusal)
    assert set(HTTP_STATUS.values()) == {400, 401, 403, 426, 429, 503}


def test_what_may_be_sent_again_is_never_a_fault_of_the_client() -> None:
    assert not RETRYABLE & STRIKES
    assert set(Code) - RETRYABLE - STRIKES == {Code.ID_CONFLICT, Code.ACK_AHEAD, Code.FORBIDDEN}


def test_close_codes_are_those_of_the_protocol() -> None:
    assert set(Close) == {1001, 1007, 1008, 1009, 1011, 1012, 4401, 4403, 4408, 4409}
