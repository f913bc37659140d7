"""No service lacks a right that it needs in Redis: whatever the suite had it do on this stack was allowed."""

from tests.e2e.test_life import test_a_message_goes_from_created_to_read_and_every_step_is_told as one_life
from tests.harness.cast import Cast
from tests.harness.stack import Stack


async def test_redis_refused_nothing_to_any_service(cast: Cast, stack: Stack) -> None:
    await one_life(cast)
    async with stack.redis() as redis:
        refused = await redis.execute_command("ACL", "LOG")  # type: ignore[no-untyped-call]  # redis-py's own gap
    assert refused == [], "add it to chatcore.acl"
