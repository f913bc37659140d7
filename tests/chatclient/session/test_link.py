"""The way back: rule 4 of PROTOCOL section 6, the close codes of section 5, the silence of section 3."""

import pytest
from chatclient.session import effects as e
from chatclient.session import inputs as i

from tests.chatclient.session.playbook import Play, frames, item, online, sync, told, welcome


def dials(effects: list[e.Effect]) -> int:
    return len([effect for effect in effects if isinstance(effect, e.Dial)])


def ends(effects: list[e.Effect]) -> bool:
    return any(isinstance(effect, e.End) for effect in effects)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 1012, 4408, 4999])
def test_these_codes_come_back(code: int | None) -> None:
    play = online(item())
    assert not ends(play.lose(code))
    assert dials(play.wait(0.5)) == 1


@pytest.mark.parametrize("code", [1007, 1008, 1009, 4401, 4403])
def test_these_codes_end_the_session(code: int) -> None:
    play = online(item())
    assert ends(play.lose(code))
    assert play.wait(100) == []
    assert play.session.wake_at is None


def test_an_expired_token_comes_back_where_another_can_be_had() -> None:
    play = Play(renewable=True)
    play.start()
    play.arrive(welcome(), sync())
    assert not ends(play.lose(4401))
    assert dials(play.wait(1)) == 1


def test_a_replaced_device_comes_back_once() -> None:
    play = online(item())
    assert not ends(play.lose(4409))
    play.wait(1)
    play.arrive(welcome(), sync())
    assert ends(play.lose(4409))


def test_a_replaced_device_comes_back_once_from_every_connection_that_ended_otherwise() -> None:
    play = online(item())
    for code in (4409, None, 4409, 1012, 4409):
        assert not ends(play.lose(code))
        play.wait(1)
        play.arrive(welcome(), sync())
    assert ends(play.lose(4409))


def test_a_refused_handshake_does_not_let_a_replaced_device_come_back_again() -> None:
    play = online(item())
    play.lose(4409)
    play.wait(1)
    play.do(i.Refusal(503, "draining", 0.5))
    play.wait(5)
    play.arrive(welcome(), sync())
    assert ends(play.lose(4409))


@pytest.mark.parametrize("status", [400, 401, 403, 426])
def test_a_handshake_refused_for_a_fault_of_ours_ends_the_session(status: int) -> None:
    play = Play()
    play.start()
    assert ends(play.do(i.Refusal(status, "x", 0.5)))


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503])
def test_a_handshake_refused_for_now_is_made_again(status: int) -> None:
    play = Play()
    play.start()
    assert not ends(play.do(i.Refusal(status, "x", 0.5)))
    assert dials(play.wait(1)) == 1


def test_a_source_of_tokens_may_be_wrong_twice() -> None:
    play = Play(renewable=True)
    play.start()
    for _ in range(2):
        assert not ends(play.do(i.Refusal(401, "bad_token", 0.5)))
        play.wait(5)
    assert ends(play.do(i.Refusal(401, "bad_token", 0.5)))


def test_retry_after_is_honoured() -> None:
    play = Play()
    play.start()
    play.do(i.Refusal(503, "draining", 0.0, retry_after_s=7))
    assert dials(play.wait(6.9)) == 0
    assert dials(play.wait(0.2)) == 1


def test_the_backoff_doubles_up_to_30_s_and_its_jitter_is_full() -> None:
    play = Play()
    play.start()
    ceilings = []
    for _ in range(9):
        (gone,) = told(play.lose(None, luck=1.0))
        ceilings.append(gone.retry_in_s)  # type: ignore[union-attr] # only one event comes of a loss
        play.wait(ceilings[-1])
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    (gone,) = told(play.lose(None, luck=0.0))
    assert gone.retry_in_s == 0  # type: ignore[union-attr] # the same


def test_a_finished_sync_starts_the_backoff_anew() -> None:
    play = Play()
    play.start()
    for _ in range(5):
        play.lose(None, luck=0.01)
        play.wait(1)
    play.arrive(welcome(), sync())
    (gone,) = told(play.lose(None, luck=1.0))
    assert gone.retry_in_s == 0.5  # type: ignore[union-attr] # only one event comes of a loss


def test_60_s_of_silence_drop_the_connection() -> None:
    play = online(item())
    assert e.HangUp() not in play.wait(59.9)
    assert e.HangUp() in play.wait(0.2)
    play.lose()
    assert dials(play.wait(1)) == 1


def test_a_ping_breaks_the_silence() -> None:
    play = online(item())
    play.wait(50)
    play.do(i.Heard())
    assert e.HangUp() not in play.wait(59)


def test_a_dial_that_never_gets_its_welcome_is_given_up() -> None:
    play = Play()
    play.start()
    assert e.HangUp() in play.wait(15.1)


def test_goaway_leaves_after_its_time_and_without_a_backoff() -> None:
    play = online(item())
    play.arrive({"type": "goaway", "reason": "draining", "reconnect_after_ms": 1_500})
    assert e.HangUp() not in play.wait(1.4)
    assert e.HangUp() in play.wait(0.2)
    assert dials(play.lose(None, luck=1.0)) == 1


def test_a_close_before_goaways_time_waits_for_that_time() -> None:
    play = online(item())
    play.arrive({"type": "goaway", "reason": "draining", "reconnect_after_ms": 5_000})
    play.wait(1)
    assert dials(play.lose(1012, luck=0.0) + play.wait(3.9)) == 0
    assert dials(play.wait(0.2)) == 1


def test_presence_is_subscribed_again_on_every_connection() -> None:
    play = online(item())
    assert [frame["users"] for frame in frames(play.do(i.Watched(("bob",))))] == [["bob"]]
    play.lose()
    play.wait(1)
    assert [frame["users"] for frame in frames(play.arrive(welcome()))] == [["bob"]]
    play.do(i.Unwatched(("bob",)))
    play.lose()
    play.wait(1)
    assert frames(play.arrive(welcome())) == []


def test_a_refused_subscription_is_made_again() -> None:
    play = online(item())
    play.do(i.Watched(("bob",)))
    play.arrive({"type": "error", "code": "unavailable", "message": "", "ref": "watch", "retry_after_ms": 1_000})
    assert [frame["type"] for frame in frames(play.wait(1.1))] == ["presence_subscribe"]


def test_a_newer_token_goes_out_until_it_is_acknowledged() -> None:
    play = online(item())
    assert [frame["type"] for frame in frames(play.do(i.Renewed("t2")))] == ["auth"]
    assert [frame["type"] for frame in frames(play.wait(10.1))] == ["auth"]
    play.arrive({"type": "auth_ok", "expires_at": 1})
    assert frames(play.wait(20)) == []


def test_a_frame_of_an_unknown_type_and_unknown_fields_are_ignored() -> None:
    play = online(item())
    assert play.arrive({"type": "surprise"}, {"type": "pong", "extra": 1}) == []
