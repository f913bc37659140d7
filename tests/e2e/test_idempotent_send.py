"""One entry per message, however often and however late it is sent again."""

import signal

from chatctl.verify.connection import RawConnection
from chatctl.verify.contract import Frame

from tests.harness.cast import Cast
from tests.harness.system import MakeSystem, System

SEND = {"type": "send", "id": "once", "body": "only once"}


async def _send(cast: Cast, user: str, peer: str, *, gateway: int, device: str = "phone") -> Frame:
    connection = await cast.online(user, device, gateway=gateway)
    await connection.send({**SEND, "to": peer})
    answer = await connection.expect("sent", id="once", timeout_s=40)
    await connection.close()
    return answer


async def _age(system: System, sender: str) -> None:
    """Make a sender's messages a day old."""
    async with system.mysql() as connection:
        cursor = await connection.cursor()
        await cursor.execute("UPDATE message SET ts = ts - 86400000 WHERE sender = %s", (sender,))
        await connection.commit()


async def _rows(system: System, sender: str) -> list[tuple[int, str]]:
    async with system.mysql() as connection:
        cursor = await connection.cursor()
        await cursor.execute("SELECT seq, body FROM message WHERE sender = %s", (sender,))
        return [(int(seq), str(body)) for seq, body in await cursor.fetchall()]


async def _restart_workers(system: System) -> None:
    workers = {process.name: process.pid for process in system.processes() if process.role == "worker"}
    for name in workers:
        system.signal(name, signal.SIGKILL)
    await system.wait_ready(60)


async def test_the_same_send_five_times_makes_one_row_and_five_equal_answers(make_stack: MakeSystem) -> None:
    system = await make_stack(gateways=2, workers=2, presence=1)
    async with Cast(system) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        answers = [await _send(cast, alice, bob, gateway=0), await _send(cast, alice, bob, gateway=1)]
        await _restart_workers(system)
        answers += [await _send(cast, alice, bob, gateway=0), await _send(cast, alice, bob, gateway=1, device="other")]
        assert all(answer == answers[0] for answer in answers), answers
        await _age(system, alice)
        await _restart_workers(system)
        late = await _send(cast, alice, bob, gateway=1)
        assert (late["seq"], late["ts"]) == (1, answers[0]["ts"] - 86_400_000)
        assert await _rows(system, alice) == [(1, "only once")]


async def test_the_same_send_twice_in_one_turn_makes_one_entry(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    for _ in range(5):
        await sender.send({**SEND, "to": bob})
    answers = [await sender.expect("sent", id="once") for _ in range(5)]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["seq"] == 1
    await sender.send({"type": "send", "id": "next", "to": bob, "body": "next"})
    await sender.expect("sent", id="next", seq=2)
    await recipient.expect("message", seq=2)
    assert await _rows(cast.system, alice) == [(1, "only once"), (2, "next")]


async def _conflict(connection: RawConnection, peer: str) -> None:
    await connection.send({**SEND, "to": peer, "body": "another body"})
    await connection.expect("error", code="id_conflict", ref="once")


async def test_another_body_with_the_same_id_is_a_conflict_on_any_connection(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    await sender.send({**SEND, "to": bob})
    await sender.expect("sent", id="once", seq=1)
    await _conflict(sender, bob)
    await _conflict(await cast.online(alice, "other", gateway=1), bob)
    assert await _rows(cast.system, alice) == [(1, "only once")]


async def test_a_conflict_within_one_turn_keeps_the_first_body(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    await sender.send({**SEND, "to": bob})
    await sender.send({**SEND, "to": bob, "body": "another body"})
    await sender.expect("sent", id="once", seq=1)
    await sender.expect("error", code="id_conflict", ref="once")
    assert await _rows(cast.system, alice) == [(1, "only once")]


async def test_bodies_that_differ_only_in_case_accent_or_trailing_space_conflict(cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender = await cast.online(alice)
    await sender.send({**SEND, "to": bob})
    await sender.expect("sent", id="once")
    for body in ("Only once", "only once ", "only önce", "only once\u0000"):
        await sender.send({**SEND, "to": bob, "body": body})
        await sender.expect("error", code="id_conflict", ref="once")


async def test_the_same_id_to_another_peer_or_by_the_peer_is_another_message(cast: Cast) -> None:
    alice, bob, carol = cast.user("alice"), cast.user("bob"), cast.user("carol")
    one, other = await cast.online(alice), await cast.online(bob)
    await one.send({**SEND, "to": bob})
    await one.expect("sent", peer=bob, seq=1)
    await one.send({**SEND, "to": carol, "body": "another"})
    await one.expect("sent", peer=carol, seq=1)
    await other.send({**SEND, "to": alice, "body": "a third"})
    await other.expect("sent", peer=alice, seq=2)
