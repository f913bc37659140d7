"""Owns the composition root of a worker that holds itself with SIGSTOP at a named point.

`python -m tests.harness.pausing_worker POINT`, with one of `POINTS`. SIGUSR1 arms it for the next time that it gets
there. It replaces adapters only; the product has no hook for it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from chatcore.delivery import Plan
from chatcore.lifecycle import Supervisor, run
from delivery_worker.app import WorkerApp
from delivery_worker.inbox import RedisInbox, StreamEntry
from delivery_worker.settings import WorkerSettings
from delivery_worker.store.batches import MySQLBatchStore

POINTS = ("before_commit", "after_commit", "in_read")


class Trap:
    """Stops the process at one point, once for each time it was armed."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._armed = False

    def arm(self) -> None:
        """Stop at the next chance."""
        self._armed = True

    def reach(self, point: str) -> None:
        """Hold the whole process here, if this is the point and it is armed."""
        if self._armed and point == self._point:
            self._armed = False
            os.kill(os.getpid(), signal.SIGSTOP)


class PausingStore(MySQLBatchStore):
    """Commits batches, and stops around the COMMIT."""

    trap: Trap

    async def commit(self, plan: Plan, now: int) -> None:
        """Commit, and stop right before the packet leaves or right after its answer came."""
        self.trap.reach("before_commit")
        await super().commit(plan, now)
        self.trap.reach("after_commit")

    async def commit_at_once(self, epoch: int, partitions: Sequence[int], plan: Plan) -> None:
        """Do the same around the packet that has the fence, the rows and the COMMIT in it."""
        self.trap.reach("before_commit")
        await super().commit_at_once(epoch, partitions, plan)
        self.trap.reach("after_commit")


class PausingInbox(RedisInbox):
    """Reads events, and stops while the read is on its way."""

    trap: Trap

    async def read(self, epoch: int, partitions: Sequence[int], count: int) -> list[StreamEntry]:
        """Read, and stop once Redis has the command and before its answer is taken."""
        reading = asyncio.create_task(super().read(epoch, partitions, count))
        try:
            # A few turns of the loop put the command on the wire; its answer may come while the process stands.
            for _ in range(3):
                await asyncio.sleep(0)
            self.trap.reach("in_read")
            return await reading
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading


class PausingWorker(WorkerApp):
    """A worker on those adapters."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self._trap = Trap(sys.argv[1])
        store = PausingStore(self.session, owner=self.worker)
        inbox = PausingInbox(self.connect, keys=self.keys, worker=self.worker)
        store.trap = inbox.trap = self._trap
        self.batches, self.inbox = store, inbox

    async def start(self, supervisor: Supervisor) -> None:
        """Start as any worker does."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._trap.arm)
        await super().start(supervisor)


if __name__ == "__main__":
    sys.exit(run("delivery-worker", WorkerSettings, PausingWorker))
