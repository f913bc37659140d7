"""The queue to the application, alone."""

from chatclient import Connected, Disconnected, Event, Message, Presence, Receipt, Typing
from chatclient.event_queue import EventQueue


def message(seq: int) -> Message:
    return Message(peer="bob", sender="bob", seq=seq, id=f"m{seq}", ts=1, body="hi")


async def drained(queue: EventQueue) -> list[Event]:
    queue.end(StopAsyncIteration())
    out: list[Event] = []
    while queue.waiting:
        out.append(await queue.get())
    return out


async def test_below_its_bound_it_keeps_every_event() -> None:
    queue = EventQueue(10)
    events = [Receipt("bob", "bob", 1, 0), Receipt("bob", "bob", 2, 0), Typing("bob"), Typing("bob")]
    for event in events:
        queue.put(event)
    assert await drained(queue) == events


async def test_above_its_bound_the_newest_state_replaces_the_one_before_and_messages_stay() -> None:
    queue = EventQueue(2)
    queue.put(message(1))
    queue.put(message(2))
    for number in range(1, 100):
        queue.put(Receipt("bob", "bob", number, 0))
        queue.put(Presence("bob", online=number % 2 == 0, last_seen=None))
        queue.put(Typing("bob"))
        queue.put(Connected("alice", "a", f"{number}"))
    queue.put(message(3))
    assert await drained(queue) == [
        message(1),
        message(2),
        Receipt("bob", "bob", 99, 0),
        Presence("bob", online=False, last_seen=None),
        Typing("bob"),
        Connected("alice", "a", "99"),
        message(3),
    ]


async def test_a_full_queue_has_room_only_while_an_answer_is_awaited() -> None:
    queue = EventQueue(1)
    queue.put(message(1))
    assert not queue.has_room
    with queue.awaited():
        assert queue.has_room
        with queue.awaited():
            pass
        assert queue.has_room
    assert not queue.has_room
    await queue.get()
    assert queue.has_room


async def test_a_long_absence_is_one_event() -> None:
    queue = EventQueue(10)
    for _ in range(5):
        queue.put(Disconnected("no network", 1.0))
    assert await drained(queue) == [Disconnected("no network", 1.0)]
