"""The judgement of the fault tests, on a real run, condemns a system that lost something."""

import pytest
from chatctl.verify.final_state import FinalState
from chatctl.verify.history import History
from chatctl.verify.properties import violations

from tests.e2e.scenery import stage
from tests.harness.system import System


async def test_a_row_lost_after_its_sent_is_found(stack: System) -> None:
    messages = 120
    async with stage(stack, users=7, peers=3) as scene:
        await scene.load(messages, 200).run()
        await scene.judge(messages=messages)
        victim = scene.pairs[0][0]
        async with stack.mysql() as connection:
            cursor = await connection.cursor()
            await cursor.execute("DELETE FROM message WHERE sender = %s AND seq = 1", (victim,))
            assert cursor.rowcount > 0
            await connection.commit()
        with pytest.raises(AssertionError, match="confirmed_is_stored"):
            await scene.judge(messages=messages, timeout_s=5)


async def test_a_mark_that_no_device_said_is_found(stack: System) -> None:
    messages = 120
    async with stage(stack, users=7, peers=3) as scene:
        await scene.load(messages, 200).run()
        final: FinalState = await scene.judge(messages=messages)
        silent = History([item for item in scene.history.observations if type(item).__name__ != "Acked"])
        assert any(found.startswith("nothing_is_claimed_unsaid") for found in violations(silent, final))
