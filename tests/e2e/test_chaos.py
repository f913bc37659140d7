"""Everything is killed, again and again, and nothing is lost.

`CHAT_TEST_MESSAGES`, `CHAT_TEST_RATE`, `CHAT_TEST_USERS` and `CHAT_TEST_SEED` change the size and the faults.
"""

import asyncio
import random

from tests.e2e.scenery import SEED, size, stage
from tests.harness.faults import Killer, running
from tests.harness.system import MakeSystem

PEERS = 5
KILL_EVERY_S = 3.0


async def test_nothing_is_lost_while_a_random_process_is_killed_every_three_seconds(make_stack: MakeSystem) -> None:
    messages, per_s, users = size("MESSAGES", 10_000), size("RATE", 120), size("USERS", 40)
    system = await make_stack(gateways=2, workers=2, presence=1)
    async with stage(system, users=users, peers=PEERS) as scene:
        killer = Killer(system, KILL_EVERY_S, random.Random(SEED))
        async with running(asyncio.create_task(killer.run(), name="killer")):
            await scene.load(messages, per_s).run()
        await system.wait_ready(90)
        try:
            await scene.judge(messages=messages, timeout_s=120)
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}, killed {killer.killed}: {error}") from error
        assert killer.killed
