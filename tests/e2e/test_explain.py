"""`chatctl explain`: one message's time line, from what MySQL, Redis and the logs tell, and what none of them does."""

import asyncio
import signal
from typing import Any

from chatcore.keys import Keys
from chatctl.stack.logs import folder_in

from tests.conftest import MakeStack
from tests.e2e.test_operations import environment_of_stores
from tests.harness.cast import Cast
from tests.harness.command import Done, chatctl
from tests.harness.stack import Stack

LOGGED = {"CHAT_TRACE_ENDPOINT": "log", "CHAT_TRACE_RATIO": "1"}
WAY = ["accepted", "handled", "numbered", "committed", "published", "settled", "sent written", "message written"]
DEAD = '["g1",1,"{user}","phone","{peer}","c-dead","hi",null]'


def _at(stack: Stack) -> str:
    return f"--dir={stack.folder}"


async def until_told(stack: Stack, *which: str) -> Any:
    """Explain until nothing is missing: spans reach the log within a second or two."""
    async with asyncio.timeout(30):
        while True:
            found = (await chatctl("explain", *which, "--json", _at(stack))).json()
            if found["not_recorded"] == []:
                return found


async def test_a_traced_message_is_told_from_the_frame_to_the_reader(make_stack: MakeStack) -> None:
    stack = await make_stack(environment=LOGGED)
    async with Cast(stack) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender, recipient = await cast.online(alice, gateway=0), await cast.online(bob, "pad", gateway=1)
        await sender.send({"type": "send", "id": "c1", "to": bob, "body": "a secret of theirs"})
        await sender.expect("sent")
        await recipient.expect("message")
        await recipient.send({"type": "read_ack", "peer": alice, "seq": 1})
        await sender.expect("receipt")
        found = await until_told(stack, alice, bob, "1")
        steps = {step["step"]: step for step in found["steps"]}
        assert steps.keys() == {*WAY, "acknowledged", "read"}
        # The row's time is in milliseconds, of another clock: it may stand anywhere near its commit.
        assert [step["step"] for step in found["steps"] if step["known_from"] == "trace"][:2] == ["accepted", "handled"]
        assert (found["state"], found["seq"], found["client_id"], found["sender"]) == ("read", 1, "c1", alice)
        assert f"({alice}'s phone)" in steps["accepted"]["detail"]
        assert f"({bob}'s pad)" in steps["message written"]["detail"]
        assert steps["read"]["where"] == steps["message written"]["where"] != steps["accepted"]["where"]
        assert steps["handled"]["where"] == found["owner"]
        assert "secret" not in str(found)
        await _told_of_a_system_that_is_no_local_stack(stack, bob, alice)


async def _told_of_a_system_that_is_no_local_stack(stack: Stack, user: str, peer: str) -> None:
    environment = environment_of_stores(stack.file)
    told = await chatctl("explain", user, peer, "c1", f"--logs={folder_in(stack.folder)}", environment=environment)
    assert told.code == 0
    assert "message 1 of 1" in told.out
    assert "message written" in told.out
    assert "not recorded" not in told.out
    none = await chatctl("explain", user, peer, "c1", "--logs=/no/such/log", environment=environment)
    assert (none.code, "no log at /no/such/log" in none.err) == (1, True)


async def test_a_message_that_was_not_followed_is_told_from_mysql_and_the_rest_is_named_as_unknown(
    stack: Stack, cast: Cast
) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    sender, recipient = await cast.online(alice), await cast.online(bob)
    for number in (1, 2):
        await sender.send({"type": "send", "id": f"c{number}", "to": bob, "body": "hi"})
        await recipient.expect("message", seq=number)
    await recipient.send({"type": "delivery_ack", "peer": alice, "seq": 1})
    await sender.expect("receipt")
    first, second = [(await chatctl("explain", alice, bob, id_, "--json", _at(stack))).json() for id_ in ("c1", "c2")]
    assert (first["state"], second["state"], second["seq"], second["last"]) == ("delivered", "created", 2, 2)
    owed = {(one["user"], one["device"]): one["owed"] for one in first["devices"]}
    assert owed == {(alice, "phone"): True, (bob, "phone"): False}
    assert [step["step"] for step in first["steps"]] == ["numbered"]
    assert len(first["not_recorded"]) == 2
    told = await chatctl("explain", alice, bob, "2", _at(stack))
    assert "not recorded: no span tells when it was accepted" in told.out


async def test_what_there_is_not_is_named(stack: Stack, cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    nobody = await chatctl("explain", alice, bob, "1", _at(stack))
    assert (nobody.code, f"{alice} and {bob} have no conversation" in nobody.err) == (1, True)
    sender = await cast.online(alice)
    await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
    await sender.expect("sent")
    for which in ("2", "c2"):
        none = await chatctl("explain", alice, bob, which, _at(stack))
        assert (none.code, f"no such message between {alice} and {bob}" in none.err) == (1, True)


async def test_a_frame_that_was_given_up_on_says_why(stack: Stack, cast: Cast) -> None:
    alice, bob = cast.user("alice"), cast.user("bob")
    redis = stack.redis()
    data = DEAD.format(user=alice, peer=bob)
    fields: Any = {"reason": "Poisoned: x", "partition": "3", "entry": "1-0", "data": data}
    letter = await redis.xadd(Keys().dead, fields)
    try:
        found = (await chatctl("explain", alice, bob, "c-dead", "--json", _at(stack))).json()
    finally:
        await redis.xdel(Keys().dead, letter)
        await redis.aclose()
    assert (found["state"], found["seq"], found["sender"]) == ("given up", None, alice)
    assert "Poisoned: x" in found["steps"][0]["detail"]


async def test_a_send_that_waits_for_a_worker_is_found_in_its_stream(make_stack: MakeStack) -> None:
    stack = await make_stack(gateways=1, workers=1, environment=LOGGED)
    async with Cast(stack) as cast:
        alice, bob = cast.user("alice"), cast.user("bob")
        sender = await cast.online(alice)
        stack.signal("worker-1", signal.SIGSTOP)
        try:
            await sender.send({"type": "send", "id": "c1", "to": bob, "body": "hi"})
            found = await _until_traced(stack, alice, bob)
        finally:
            stack.signal("worker-1", signal.SIGCONT)
        assert (found["state"], found["seq"]) == ("in the stream", None)
        assert {step["known_from"] for step in found["steps"]} == {"redis", "trace"}
        assert {step["step"] for step in found["steps"]} == {"accepted"}
        await sender.expect("sent", timeout_s=30)


async def _until_traced(stack: Stack, user: str, peer: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            done: Done = await chatctl("explain", user, peer, "c1", "--json", _at(stack))
            if done.code == 0 and len((found := done.json())["steps"]) == 2:
                return found
