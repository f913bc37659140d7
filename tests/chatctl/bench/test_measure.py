"""What becomes of what clients and server did in a window."""

import pytest
from chatctl.bench.job import Tally
from chatctl.bench.measure import fault_figures, require_work
from chatctl.failure import Failure


def test_a_window_in_which_no_message_came_to_its_end_is_no_measurement() -> None:
    with pytest.raises(Failure, match="life: no message came to its end") as failure:
        require_work(Tally({"messages": 0, "error rate_limited": 3}), {"messages without a receipt": 2}, name="life")
    assert "'error rate_limited': 3, 'messages without a receipt': 2" in failure.value.advice


def test_a_window_with_messages_is_one_whatever_else_went_wrong() -> None:
    require_work(Tally({"messages": 1}), {"holes": 1}, name="life")


def test_errors_and_what_is_missing_miss_their_targets() -> None:
    tally = Tally({"messages": 5, "error rate_limited": 3, "error unavailable": 1})
    found = fault_figures(tally, {"holes": 2})
    assert [(figure.name, figure.value, figure.met) for figure in found] == [
        ("errors to clients", 4, False),
        ("holes", 2, False),
    ]
