"""What asyncio and TCP promise stands in every order that is drawn; what they leave open is drawn from the seed."""

import asyncio
from collections.abc import Callable, Iterator
from contextvars import Context
from random import Random

import pytest
from chatctl.simulate.event_loop import Process, Stream, VirtualLoop

SEEDS = range(20)


class Wire(Stream):
    """A connection that writes down what comes."""

    def __init__(self, name: str, heard: list[str]) -> None:
        self.name, self.heard = name, heard

    def take(self, what: int) -> None:
        self.heard.append(f"{self.name}{what}")


@pytest.fixture
def loops() -> Iterator[Callable[[int], VirtualLoop]]:
    made: list[VirtualLoop] = []

    def make(seed: int) -> VirtualLoop:
        made.append(VirtualLoop(Random(seed)))
        return made[-1]

    yield make
    for loop in made:
        loop.close()


def run(loop: VirtualLoop, until_s: float = 10.0) -> None:
    loop.run_until_complete(asyncio.sleep(until_s))


def of(name: str, heard: list[str]) -> list[str]:
    return [one for one in heard if one.startswith(name)]


def test_a_process_keeps_the_order_of_its_own_calls(loops: Callable[[int], VirtualLoop]) -> None:
    for seed in SEEDS:
        loop, heard = loops(seed), list[str]()
        processes = [Process(loop, name) for name in "ab"]
        for number in range(5):
            for process in processes:
                loop.call_soon(heard.append, f"{process.name}{number}", context=process.context.copy())
        run(loop)
        assert of("a", heard) == [f"a{number}" for number in range(5)]
        assert of("b", heard) == [f"b{number}" for number in range(5)]


def test_which_of_two_processes_runs_first_is_drawn(loops: Callable[[int], VirtualLoop]) -> None:
    firsts = set()
    for seed in SEEDS:
        loop, heard = loops(seed), list[str]()
        for name in "ab":
            loop.call_soon(heard.append, name, context=Process(loop, name).context.copy())
        run(loop)
        firsts.add(heard[0])
    assert firsts == {"a", "b"}


def test_which_of_two_timers_of_the_same_moment_comes_first_is_drawn(loops: Callable[[int], VirtualLoop]) -> None:
    firsts = set()
    for seed in SEEDS:
        loop, heard = loops(seed), list[str]()
        for name in "ab":
            loop.call_at(1.0, heard.append, name)
        run(loop)
        firsts.add(heard[0])
    assert firsts == {"a", "b"}


def test_what_comes_while_a_process_stands_still_is_found_in_any_order_but_in_that_of_each_connection(
    loops: Callable[[int], VirtualLoop],
) -> None:
    orders = set()
    for seed in SEEDS:
        loop, heard = loops(seed), list[str]()
        process, wires = Process(loop, "gateway"), [Wire(name, heard) for name in "ab"]
        loop.call_at(0.5, process.pause, context=Context())
        for number in range(3):
            for wire in wires:
                loop.call_at(1.0 + number, wire.take, number, context=process.context.copy())
            loop.call_at(1.5 + number, heard.append, f"timer{number}", context=process.context.copy())
        loop.call_at(9.0, process.resume, context=Context())
        run(loop)
        assert of("a", heard) == ["a0", "a1", "a2"]
        assert of("b", heard) == ["b0", "b1", "b2"]
        assert of("timer", heard) == ["timer0", "timer1", "timer2"]
        orders.add(tuple(heard))
    assert len(orders) > len(SEEDS) / 2


def test_what_a_process_had_in_line_when_it_was_stopped_comes_first_and_in_order(
    loops: Callable[[int], VirtualLoop],
) -> None:
    for seed in SEEDS:
        loop, heard = loops(seed), list[str]()
        process = Process(loop, "worker")
        loop.call_soon(process.pause, context=process.context.copy())
        for number in range(3):
            loop.call_soon(heard.append, f"own{number}", context=process.context.copy())
        loop.call_at(1.0, Wire("late", heard).take, 0, context=process.context.copy())
        loop.call_at(2.0, process.resume, context=Context())
        run(loop)
        assert heard == ["own0", "own1", "own2", "late0"]


def test_two_pauses_of_a_process_end_with_the_later_one(loops: Callable[[int], VirtualLoop]) -> None:
    loop, heard = loops(0), list[float]()
    process = Process(loop, "redis")
    process.pause()
    process.pause()
    loop.call_soon(lambda: heard.append(loop.time()), context=process.context.copy())
    loop.call_at(1.0, process.resume, context=Context())
    loop.call_at(5.0, process.resume, context=Context())
    run(loop)
    assert heard == [5.0]
