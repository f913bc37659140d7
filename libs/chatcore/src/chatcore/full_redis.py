"""Owns what still runs in a Redis whose memory is full (`maxmemory`, `noeviction`), so that it can empty itself (R5b).

Such a server refuses every command that may need memory, and within MULTI every command, since queueing needs it. A
script with the flag `allow-oom` runs: https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags

For what frees memory, and for what is bounded by the number of processes and of what was accepted before. It must never
be used for what clients send: then nothing would bound it.
"""

from typing import Any, Final

from redis.exceptions import OutOfMemoryError

ALLOW_FULL: Final = "#!lua flags=allow-oom\n"
"""The first line of a script that runs in a full Redis, from its first character on. Redis 7.0 or later."""
RUN: Final = (
    ALLOW_FULL
    + """
local answers, at = {}, 1
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  answers[#answers + 1] = redis.pcall(unpack(ARGV, at + 1, last))
  at = last + 1
end
return answers
"""
)
"""Run commands as one step, as MULTI does: one that fails keeps none from running. ARGV: for each, the number of its
parts (at most some 7,900: Lua's stack), and the parts. The keys are not declared: what a worker settles lies on several
nodes of a cluster, for MULTI as well, and a declared key would have to be readable."""


async def run_anyway(redis: Any, *commands: tuple[Any, ...]) -> list[Any]:
    """Run commands as one step, memory or not. Raises what the first one that failed says."""
    parts = [part for command in commands for part in (len(command), *command)]
    answers: list[Any] = await redis.eval(RUN, 0, *parts)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def execute_anyway(redis: Any, pipeline: Any) -> list[Any]:
    """Execute a pipeline; what a full Redis refuses is run again as one step.

    A transaction was refused as a whole. Of a plain pipeline some may have run: only for what may run twice.
    """
    stack = pipeline.command_stack
    try:
        answers: list[Any] = await pipeline.execute()
    except OutOfMemoryError:
        return await run_anyway(redis, *(args for args, _ in stack))
    return answers
