"""Owns the list of the properties: their names, what they watch, and what each needs to be asked at all.

Every one is shown a broken run by tests/chatctl/verify: what cannot fail proves nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from chatctl.verify.case import Case
from chatctl.verify.final_state import FinalState
from chatctl.verify.history import History
from chatctl.verify.properties import deliveries, drains, liveness, marks, order, presence, stalls, storage
from chatctl.verify.properties.violation import Check, Violation

Kind = Literal["safety", "liveness", "presence"]


@dataclass(frozen=True, slots=True)
class Property:
    """One promise that is held against a run."""

    check: Check
    kind: Kind
    needs: tuple[str, ...] = ()
    """The fields of the final state without which it cannot be asked."""
    too_little: Callable[[Case], str] = lambda _: ""
    """Says what is too little in a run to ask it of that; empty: nothing is."""

    @property
    def name(self) -> str:
        """Its name in every report."""
        return self.check.__name__

    @property
    def says(self) -> str:
        """What it promises, in a sentence."""
        return (self.check.__doc__ or "").strip().splitlines()[0]

    def lacks(self, final: FinalState) -> list[str]:
        """Name what it needs and nobody could read."""
        return [need for need in self.needs if getattr(final, need) is None]

    def why_not_asked(self, case: Case) -> str:
        """Say why it cannot be asked of a run; empty: it can."""
        lacks = self.lacks(case.final)
        return f"nobody could read {', '.join(lacks)}" if lacks else self.too_little(case)


PROPERTIES: Final[tuple[Property, ...]] = (
    Property(storage.confirmed_is_stored, "safety"),
    Property(storage.confirmed_is_in_every_view, "safety"),
    Property(storage.nothing_invented, "safety"),
    Property(storage.bodies_are_equal, "safety"),
    Property(storage.one_entry_per_message, "safety"),
    Property(order.a_number_names_one_message, "safety"),
    Property(order.numbers_have_no_holes, "safety"),
    Property(order.all_end_with_the_same_log, "safety"),
    Property(order.told_is_as_stored, "safety"),
    Property(order.sender_order_is_kept, "safety"),
    Property(order.later_sends_get_higher_numbers, "safety"),
    Property(marks.nothing_is_claimed_unsaid, "safety"),
    Property(marks.marks_never_fall, "safety"),
    Property(marks.marks_are_in_order, "safety"),
    Property(marks.a_refused_ack_changes_nothing, "safety"),
    Property(storage.refused_stays_out, "safety"),
    Property(storage.nobody_sees_what_is_not_theirs, "safety"),
    Property(storage.frames_are_the_protocols, "safety"),
    Property(deliveries.a_sync_brings_everything, "safety"),
    Property(deliveries.a_sync_brings_every_mark, "safety"),
    Property(storage.accepted_is_accounted_for, "safety", needs=("rows", "streams", "dead")),
    Property(storage.settled_after_commit, "safety", needs=("early",)),
    Property(storage.fenced_worker_has_no_effect, "safety", needs=("stale",)),
    Property(order.every_device_is_complete, "liveness"),
    Property(marks.receipts_converge, "liveness"),
    Property(liveness.everything_is_ready_again, "liveness"),
    Property(liveness.operations_succeed_again, "liveness"),
    Property(liveness.messages_arrive_in_time, "liveness"),
    Property(liveness.receipts_arrive_in_time, "liveness"),
    Property(liveness.late_devices_complete_after_one_sync, "liveness"),
    Property(deliveries.a_push_need_not_be_asked_for, "liveness"),
    Property(liveness.streams_run_empty, "liveness", needs=("streams",)),
    Property(drains.a_drained_gateway_names_its_reason, "liveness"),
    Property(stalls.a_stalled_client_moves_nobody, "liveness", too_little=stalls.too_few_stalled_sends),
    Property(presence.online_shows_in_time, "presence"),
    Property(presence.gone_shows_in_time, "presence"),
    Property(presence.nobody_flaps, "presence"),
    Property(presence.a_late_leaver_evicts_nobody, "presence"),
    Property(presence.no_ghosts_remain, "presence", needs=("online",)),
)


def judged(case: Case) -> Iterator[tuple[Property, Violation]]:
    """Give every violation, with its property; those that cannot be asked are passed over."""
    for one in PROPERTIES:
        if not one.why_not_asked(case):
            yield from ((one, violation) for violation in one.check(case))


def violations(history: History, final: FinalState) -> list[str]:
    """Return every broken promise of a run as a sentence that begins with its property's name."""
    return [f"{one.name}: {violation.what}" for one, violation in judged(Case(history, final))]
