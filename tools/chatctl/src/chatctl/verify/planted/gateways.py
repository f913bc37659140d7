"""Planted in gateways: what a client is claimed to hold, whose member is removed, when nobody is synced again."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from chatcore.keys import Keys
from chatcore.lifecycle import Step
from chatcore.push import Kind, records
from gateway.app import GatewayApp
from gateway.connection import Connection, Outlet
from gateway.members import Change, Members, Sort
from gateway.outbox import Outbox
from gateway.subscriber import Dispatcher
from gateway.syncs import Syncs
from gateway.turn import SEND

MESSAGE = b'{"type":"message"'
LONG_BYTES = 32 * 1024
"""A queue of so much is long to a gateway that lets everybody wait for it."""
LOOK_S = 0.02


class _Claims(Dispatcher):
    """Acknowledges a message for its device when it is written to the socket."""

    app: GatewayApp

    def dispatch(self, publication: bytes) -> None:
        super().dispatch(publication)
        for kind, number, payload in records(publication):
            connection = self.app.registry.by_number.get(number)
            if kind == Kind.FRAME and connection is not None and payload.startswith(MESSAGE):
                frame: Any = orjson.loads(payload)
                user, device = connection.user, connection.device
                self.app.outbox.ack(number, user, device, frame["peer"], frame["seq"], 0, None)


class ReceiptOnWrite(GatewayApp):
    """Breaks R7: only the client asserts."""

    def make_dispatcher(self) -> Dispatcher:
        """Make one that claims."""
        dispatcher = _Claims(
            registry=self.registry,
            syncs=self.syncs,
            metrics=self.metrics,
            heard=self.watch.heard,
            leave=self.leave,
            clock=self.clock,
        )
        dispatcher.app = self
        return dispatcher


class _CalmAboutWipes(Syncs):
    """Syncs nobody again because Redis was emptied."""

    def again(self, connections: Iterable[Connection], cause: str) -> None:
        if cause != "wipe":
            super().again(connections, cause)


class NoSyncAfterWipe(GatewayApp):
    """Breaks R4a: Redis found wiped, enter all members again, then sync."""

    def make_syncs(self) -> Syncs:
        """Make ones that are calm."""
        return _CalmAboutWipes(gateway=self.gateway_id, ask=self.outbox.request, metrics=self.metrics)


LEAVE_ALL = """
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if member:sub(1, #ARGV[1]) == ARGV[1] then redis.call('ZREM', KEYS[1], member) end
end
return 0
"""


class _Sweeping(Members):
    """Removes every member of a device that leaves, on whichever gateway."""

    def take(self, pipeline: Any) -> list[Change]:
        changes, rest = [], len(self._queue)
        while rest and self._queue[0].sort is Sort.LEAVE:
            change = self._queue.popleft()
            device = change.member.partition("|")[0]
            pipeline.eval(LEAVE_ALL, 1, self._keys.devices(change.user), f"{device}|")
            changes.append(change)
            rest -= 1
        return changes or super().take(pipeline)


class _SweepingOutbox(Outbox):
    """Has such members."""

    def make_members(self, keys: Keys, ttl_ms: int) -> Members:
        return _Sweeping(keys=keys, ttl_ms=ttl_ms, left=self.tell)


class RemovesAnother(GatewayApp):
    """Breaks R4: a gateway removes only its own members."""

    def make_outbox(self) -> Outbox:
        """Make one that removes others' too."""
        return self.make_outbox_of(_SweepingOutbox)


class _Careless(Outbox):
    """Lets acknowledgements go whose XADD failed."""

    def _refuse(self, items: list[Any]) -> None:
        super()._refuse([item for item in items if item[0] == SEND])


class AcksDropped(GatewayApp):
    """Breaks R5: a gateway keeps acknowledgements until their XADD was answered."""

    def make_outbox(self) -> Outbox:
        """Make one that lets them go."""
        return self.make_outbox_of(_Careless)


class SecondConfirmationIgnored(GatewayApp):
    """Breaks R6: a second subscription confirmation means a gap."""

    def _confirmed(self, again: bool) -> None:  # noqa: FBT001 - as the one that it replaces
        super()._confirmed(False)  # noqa: FBT003 - the same


class _Patient(Outlet):
    """Writes to nobody else while one connection does not take what is queued for it."""

    def _flush(self) -> None:
        if any(connection.queued_bytes > LONG_BYTES for connection in self._stalled):
            asyncio.get_running_loop().call_later(LOOK_S, self._flush)
        else:
            super()._flush()


class WaitsForTheSlow(GatewayApp):
    """Breaks R5: a connection that does not take its frames keeps them, and nobody else."""

    def _make_shell(self) -> None:
        super()._make_shell()
        self.door._outlet = _Patient()


class LeavesInSilence(GatewayApp):
    """Breaks G11: a gateway that is asked to stop sends its clients away first."""

    def shutdown(self) -> Sequence[Step]:
        """Leave all to the end of the process."""
        return ()
