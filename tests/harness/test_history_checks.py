"""The judge of runs must be able to condemn: each broken promise, made by hand, is found by its check alone."""

from dataclasses import replace

import pytest

from tests.harness.history import Acked, Claimed, DeviceEnd, Entry, FinalState, History, Seen, Sending, Sent, Synced
from tests.harness.history_checks import CHECKS, violations

PAIR = ("alice", "bob")
LOG = [
    Entry(1, "alice", "a1", 10, "one", "read"),
    Entry(2, "bob", "b1", 11, "two", "read"),
    Entry(3, "alice", "a2", 12, "three", "read"),
]


def _device(user: str, peer: str) -> DeviceEnd:
    return DeviceEnd(
        user=user,
        device="phone",
        start={peer: 0},
        cursor={peer: 3},
        own_read={peer: 3},
        peer_delivered={peer: 3},
        peer_read={peer: 3},
        held={peer: {1: "a1", 2: "b1", 3: "a2"}},
        unanswered=frozenset(),
    )


def _good() -> tuple[History, FinalState]:
    history = History(
        [
            Sending("alice", "phone", 1, "bob", "a1", "one"),
            Sent("alice", "phone", "bob", "a1", 1, 10),
            Seen("bob", "phone", "alice", "alice", 1, "a1", 10, "one"),
            Sending("bob", "phone", 1, "alice", "b1", "two"),
            Sent("bob", "phone", "alice", "b1", 2, 11),
            Sending("alice", "phone", 1, "bob", "a2", "three"),
            Sent("alice", "phone", "bob", "a2", 3, 12),
            Acked("bob", "phone", "alice", 3, read=True),
            Claimed("alice", "phone", "bob", "alice", 3, 3),
            Synced("alice", "phone", "bob", 3, 1, 0, 3, 3),
            Synced("alice", "phone", "bob", 3, 3, 3, 3, 3),
        ]
    )
    return history, FinalState({PAIR: list(LOG)}, [_device("alice", "bob"), _device("bob", "alice")])


def _with_log(final: FinalState, *log: Entry) -> FinalState:
    return FinalState({PAIR: list(log)}, final.devices)


def _with_device(final: FinalState, device: DeviceEnd) -> FinalState:
    return FinalState(final.logs, [device, *final.devices[1:]])


def test_a_good_run_breaks_nothing() -> None:
    assert violations(*_good()) == []


def _lost(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_log(final, *LOG[:2])


def _stored_twice(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_log(final, *LOG, replace(LOG[0], seq=4))


def _invented(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_log(final, *LOG, Entry(4, "bob", "ghost", 13, "boo", "created"))


def _changed_body(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_log(final, replace(LOG[0], body="other"), *LOG[1:])


def _hole(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_log(final, *LOG[:2], replace(LOG[2], seq=4))


def _unequal_sent(history: History, final: FinalState) -> tuple[History, FinalState]:
    history.add(Sent("alice", "phone", "bob", "a1", 1, 99))
    return history, final


def _two_numbers(history: History, final: FinalState) -> tuple[History, FinalState]:
    history.add(Seen("bob", "tablet", "alice", "alice", 2, "a1", 10, "one"))
    return history, final


def _overtaken(history: History, final: FinalState) -> tuple[History, FinalState]:
    swapped = (replace(LOG[2], seq=1), LOG[1], replace(LOG[0], seq=3))
    return history, _with_log(final, *swapped)


def _incomplete(history: History, final: FinalState) -> tuple[History, FinalState]:
    device = replace(final.devices[0], held={"bob": {1: "a1", 3: "a2"}})
    return history, _with_device(final, device)


def _owing(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_device(final, replace(final.devices[0], unanswered=frozenset({"a3"})))


def _behind(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_device(final, replace(final.devices[0], cursor={"bob": 2}))


def _untold_delivery(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_device(final, replace(final.devices[0], peer_delivered={"bob": 2}))


def _untold_reading(history: History, final: FinalState) -> tuple[History, FinalState]:
    return history, _with_device(final, replace(final.devices[0], peer_read={"bob": 0}))


def _claimed_early(history: History, final: FinalState) -> tuple[History, FinalState]:
    history.observations.insert(2, Claimed("alice", "phone", "bob", "alice", 1, 0))
    return history, final


def _read_from_delivery(history: History, final: FinalState) -> tuple[History, FinalState]:
    history.observations[7] = Acked("bob", "phone", "alice", 3, read=False)
    return history, final


def _fallen(history: History, final: FinalState) -> tuple[History, FinalState]:
    history.add(Synced("alice", "phone", "bob", 3, 3, 3, 3, 2))
    return history, final


BROKEN = {
    _lost: "stored_once",
    _stored_twice: "stored_once",
    _invented: "stored_once",
    _changed_body: "stored_once",
    _hole: "numbered_densely",
    _unequal_sent: "confirmed_as_stored",
    _two_numbers: "seen_as_stored",
    _overtaken: "sender_order",
    _incomplete: "devices_complete",
    _owing: "devices_complete",
    _behind: "devices_complete",
    _untold_delivery: "receipts_converged",
    _untold_reading: "receipts_converged",
    _claimed_early: "nothing_claimed_unsaid",
    _read_from_delivery: "nothing_claimed_unsaid",
    _fallen: "syncs_never_fall",
}


@pytest.mark.parametrize("breaks", BROKEN, ids=[broken.__name__ for broken in BROKEN])
def test_a_broken_promise_is_found(breaks: object) -> None:
    assert callable(breaks)
    found = violations(*breaks(*_good()))
    assert any(violation.startswith(f"{BROKEN[breaks]}:") for violation in found), found


def test_every_check_is_shown_a_broken_run() -> None:
    assert {check.__name__ for check in CHECKS} == set(BROKEN.values())


def test_order_is_not_asked_of_messages_that_were_sent_again() -> None:
    history, final = _overtaken(*_good())
    history.add(Sending("alice", "phone", 2, "bob", "a1", "one"))
    assert not [found for found in violations(history, final) if found.startswith("sender_order")]
