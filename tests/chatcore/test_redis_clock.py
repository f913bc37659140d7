"""Redis's clock as a process sees it."""

import pytest
from chatcore import redis_clock
from chatcore.errors import StoreUnavailable
from chatcore.redis_clock import READ_S, RedisClock
from redis.exceptions import ConnectionError as RedisConnectionError


class Times:
    """The time here, and a Redis whose clock is ahead of it; an answer is on its way for as long as its question."""

    def __init__(self) -> None:
        self.here_s = 1_700_000_000.0
        self.steps_s = 0.0
        self.ahead_s = 5.0
        self.one_way_s = 0.25
        self.asked = 0
        self.down = False

    def wall(self) -> float:
        return self.here_s + self.steps_s

    def monotonic(self) -> float:
        return self.here_s

    async def time(self) -> tuple[int, int]:
        self.asked += 1
        self.here_s += self.one_way_s
        if self.down:
            raise RedisConnectionError("gone")
        micros = round((self.here_s + self.ahead_s) * 1_000_000)
        self.here_s += self.one_way_s
        return micros // 1_000_000, micros % 1_000_000

    @property
    def redis_ms(self) -> float:
        return (self.here_s + self.ahead_s) * 1000


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    one = Times()
    monkeypatch.setattr(redis_clock, "time", one.wall)
    monkeypatch.setattr(redis_clock, "monotonic", one.monotonic)
    return one


def test_before_the_first_reading_it_is_the_clock_of_this_process(times: Times) -> None:
    assert RedisClock().now_ms() == times.wall() * 1000


@pytest.mark.parametrize("ahead_s", [5.0, -3.5, 0.0])
async def test_after_a_reading_it_is_redis_own_and_goes_on_with_ours(times: Times, ahead_s: float) -> None:
    times.ahead_s = ahead_s
    clock = RedisClock()
    await clock.read(times)
    assert clock.now_ms() == pytest.approx(times.redis_ms, abs=0.01)
    times.here_s += 7.0
    assert clock.now_ms() == pytest.approx(times.redis_ms, abs=0.01)


@pytest.mark.parametrize("ahead_s", [5.0, -3.5])
async def test_it_tells_how_far_the_clock_of_this_process_is_off(times: Times, ahead_s: float) -> None:
    times.ahead_s = ahead_s
    clock = RedisClock()
    assert clock.off_ms() == 0
    await clock.read(times)
    assert clock.off_ms() == -ahead_s * 1000


async def test_an_answer_that_took_longer_on_one_way_is_wrong_by_half_a_round_trip_at_most(times: Times) -> None:
    times.one_way_s = 0.5
    clock = RedisClock()

    class LateAnswers:
        async def time(self) -> tuple[int, int]:
            answer = await times.time()
            times.here_s += 2.0
            return answer

    await clock.read(LateAnswers())
    assert abs(clock.now_ms() - times.redis_ms) <= 1_500.01


async def test_it_is_read_again_once_the_last_reading_is_old(times: Times) -> None:
    clock = RedisClock()
    await clock.read(times)
    times.ahead_s = 6.0
    times.here_s += READ_S - 2 * times.one_way_s - 0.01
    await clock.read(times)
    assert times.asked == 1
    times.here_s += 0.01
    await clock.read(times)
    assert times.asked == 2
    assert clock.now_ms() == pytest.approx(times.redis_ms, abs=0.01)


async def test_a_step_of_our_clock_is_mended_by_the_next_reading(times: Times) -> None:
    clock = RedisClock()
    await clock.read(times)
    times.steps_s = -3_600.0
    times.here_s += READ_S
    await clock.read(times)
    assert clock.now_ms() == pytest.approx(times.redis_ms, abs=0.01)


async def test_while_redis_does_not_answer_the_last_reading_stands_and_is_tried_again_at_once(times: Times) -> None:
    clock = RedisClock()
    await clock.read(times)
    times.here_s += READ_S
    times.down = True
    with pytest.raises(StoreUnavailable):
        await clock.read(times)
    assert clock.now_ms() == pytest.approx(times.redis_ms, abs=0.01)
    times.down, times.ahead_s = False, -1.0
    await clock.read(times)
    assert clock.now_ms() == pytest.approx(times.redis_ms, abs=0.01)
