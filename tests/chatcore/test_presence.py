"""The presence core by playbooks: who is online, what is told of it, to whom, and when nobody may be taken for gone."""

from chatcore.presence import (
    GAP_MS,
    RESUME_MS,
    WATCH_MS,
    Look,
    Seen,
    Sweeping,
    extend,
    look,
    subscribe,
    unsubscribe,
    watching,
)
from hypothesis import given
from hypothesis import strategies as st

TTL = 30_000
NEVER, ALWAYS = 0, 10**9
deadlines = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 100_000))


def test_a_user_with_a_device_is_online_and_one_without_is_not() -> None:
    assert look({"a": 40_000}, Seen(), 10_000, TTL, sweep_until=ALWAYS) == Look(
        {"a": 40_000}, Seen(online=True), changed=True, next_ms=40_000
    )
    assert look({}, Seen(), 10_000, TTL, sweep_until=ALWAYS) == Look({}, Seen(), changed=False, next_ms=None)


def test_a_second_device_is_no_transition() -> None:
    found = look({"a": 40_000, "b": 39_000}, Seen(online=True), 10_000, TTL, sweep_until=ALWAYS)
    assert not found.changed
    assert found.next_ms == 39_000


def test_one_silent_device_goes_and_its_user_stays_while_another_beats() -> None:
    found = look({"silent": 9_000, "beats": 39_000}, Seen(online=True), 10_000, TTL, sweep_until=ALWAYS)
    assert found == Look({"beats": 39_000}, Seen(online=True), changed=False, next_ms=39_000)


def test_a_user_whose_devices_all_expired_was_last_seen_at_the_last_beat_of_any() -> None:
    found = look({"a": 31_000, "b": 35_000}, Seen(online=True), 40_000, TTL, sweep_until=ALWAYS)
    assert found == Look({}, Seen(online=False, last_seen=5_000), changed=True, next_ms=None)


def test_a_user_whose_last_device_was_removed_was_last_seen_now() -> None:
    found = look({}, Seen(online=True), 40_000, TTL, sweep_until=ALWAYS)
    assert found.seen == Seen(online=False, last_seen=40_000)


def test_a_deadline_is_past_at_its_very_millisecond() -> None:
    assert not look({"a": 10_000}, Seen(online=True), 10_000, TTL, sweep_until=ALWAYS).devices
    assert look({"a": 10_001}, Seen(online=True), 10_000, TTL, sweep_until=ALWAYS).devices


def test_without_leave_to_sweep_an_expired_device_still_counts() -> None:
    found = look({"a": 9_000}, Seen(online=True), 10_000, TTL, sweep_until=NEVER)
    assert found == Look({"a": 9_000}, Seen(online=True), changed=False, next_ms=9_000)


def test_leave_to_sweep_ends_by_itself() -> None:
    assert not look({"a": 9_000}, Seen(online=True), 10_000, TTL, sweep_until=10_000).devices
    assert look({"a": 9_000}, Seen(online=True), 10_001, TTL, sweep_until=10_000).devices


@given(deadlines, st.sets(st.sampled_from("abcdefg")), st.integers(0, 100_000))
def test_a_beat_extends_what_is_there_and_creates_nothing(devices: dict[str, int], beating: set[str], now: int) -> None:
    extended = extend(devices, beating, now, TTL)
    assert extended.keys() == devices.keys()
    for member, deadline in extended.items():
        assert deadline == (max(devices[member], now + TTL) if member in beating else devices[member])


@given(deadlines, st.booleans(), st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_second_look_at_the_same_moment_changes_nothing(
    devices: dict[str, int], online: bool, now: int, until: int
) -> None:
    first = look(devices, Seen(online=online), now, TTL, sweep_until=until)
    second = look(first.devices, first.seen, now, TTL, sweep_until=until)
    assert second == Look(first.devices, first.seen, changed=False, next_ms=first.next_ms)


@given(deadlines, st.integers(0, 100_000))
def test_no_look_before_the_next_one_due_would_find_anything(devices: dict[str, int], now: int) -> None:
    first = look(devices, Seen(), now, TTL, sweep_until=ALWAYS)
    if first.next_ms is not None:
        early = look(first.devices, first.seen, first.next_ms - 1, TTL, sweep_until=ALWAYS)
        assert early == Look(first.devices, first.seen, changed=False, next_ms=first.next_ms)


def test_a_subscription_holds_for_its_time_and_is_renewed_by_every_announcement() -> None:
    watch = subscribe({}, "g1", 1_000)
    assert watching(watch, WATCH_MS) == {"g1": WATCH_MS + 1_000}
    assert watching(watch, WATCH_MS + 1_000) == {}
    assert watching(subscribe(watch, "g1", 61_000), WATCH_MS + 1_000)


def test_of_a_subscription_and_its_end_the_later_word_counts_in_whichever_order_they_are_handled() -> None:
    assert unsubscribe(subscribe({}, "g1", 1_000), "g1", 2_000) == {}
    assert unsubscribe(subscribe({}, "g1", 2_000), "g1", 1_000) == {"g1": 2_000 + WATCH_MS}
    assert subscribe(unsubscribe({}, "g1", 1_000), "g1", 2_000) == {"g1": 2_000 + WATCH_MS}
    assert subscribe(subscribe({}, "g1", 2_000), "g1", 1_000) == {"g1": 2_000 + WATCH_MS}


def test_an_end_in_the_same_moment_loses_to_its_subscription() -> None:
    assert unsubscribe(subscribe({}, "g1", 1_000), "g1", 1_000) == {"g1": 1_000 + WATCH_MS}


def test_an_end_leaves_other_gateways_alone() -> None:
    assert unsubscribe({"g1": 1, "g2": 2}, "g1", 5_000) == {"g2": 2}


def test_sweeping_goes_on_while_anybody_swept_a_moment_ago() -> None:
    assert Sweeping().tick(100_000, 100_000 - GAP_MS + 1, behind=False) == (Sweeping(), 100_000 + GAP_MS)


def test_after_a_gap_nobody_is_swept_until_every_gateway_has_beaten_again() -> None:
    state, until = Sweeping().tick(100_000, 100_000 - GAP_MS, behind=False)
    assert until == 0
    state, until = state.tick(100_000 + RESUME_MS - 1, None, behind=False)
    assert until == 0
    state, until = state.tick(100_000 + RESUME_MS, None, behind=False)
    assert (state, until) == (Sweeping(), 100_000 + RESUME_MS + GAP_MS)


def test_the_first_replica_to_sweep_again_resumes_the_sweeping_of_all() -> None:
    waiting, _ = Sweeping().tick(100_000, None, behind=False)
    assert waiting.tick(101_000, 100_900, behind=False) == (Sweeping(), 101_000 + GAP_MS)


def test_a_replica_that_is_behind_sweeps_nobody_however_lately_anybody_swept() -> None:
    state, until = Sweeping().tick(100_000, 99_999, behind=True)
    assert until == 0
    assert state.tick(101_000, None, behind=False)[1] == 0
    assert state.tick(100_000 + RESUME_MS, None, behind=False)[1] > 0


def test_who_saw_that_heartbeats_may_be_missing_waits_for_them_though_others_sweep() -> None:
    state, _ = Sweeping().tick(100_000, 99_999, behind=True)
    state, until = state.tick(100_000 + RESUME_MS - 1, 100_000 + RESUME_MS - 2, behind=False)
    assert until == 0
    assert state.tick(100_000 + RESUME_MS, None, behind=False) == (Sweeping(), 100_000 + RESUME_MS + GAP_MS)
