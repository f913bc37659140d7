"""The planted bugs by name: whom they replace, what breaks them open, and what has to be out of their way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from delivery_worker.app import WorkerApp
from gateway.app import GatewayApp

from chatctl.faults.scene import Modules, Scene
from chatctl.faults.shape import Shape
from chatctl.verify.planted import batches, gateways, stores, syncs

MODULE: Final = "chatctl.verify.planted"
NO_UNIQUE_ID: Final = ("ALTER TABLE message DROP KEY message_client_id, ADD KEY message_client_id (conversation_id)",)
"""The schema's own guard against a second entry of an id would hide that the worker's is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One planted bug."""

    app: type[WorkerApp] | type[GatewayApp]
    says: str
    """What it does wrong."""
    faults: tuple[str, ...]
    """The kinds of faults that provoke it."""
    statements: tuple[str, ...] = ()
    """What is done to the schema before anybody talks."""

    @property
    def role(self) -> str:
        """The service in whose place it runs."""
        return "worker" if issubclass(self.app, WorkerApp) else "gateway"

    def modules(self, name: str, shape: Shape | None = None) -> Modules:
        """Return what runs in the place of every service of its role."""
        parts = shape or Shape()
        names = parts.worker_names if self.role == "worker" else parts.gateway_names
        return dict.fromkeys(names, (MODULE, name))

    async def prepare(self, scene: Scene) -> None:
        """Put out of its way what would hide it."""
        async with scene.mysql() as connection:
            cursor: Any = await connection.cursor()
            for statement in self.statements:
                await cursor.execute(statement)


STORE_FAULTS: Final = ("mysql_read_only", "mysql_lock_wait", "mysql_kill_connections", "partition_worker_mysql")

BUGS: Final[Mapping[str, Bug]] = {
    "ack_before_commit": Bug(
        app=batches.AckBeforeCommit, says="answers `sent` before the COMMIT", faults=(*STORE_FAULTS, "redis_flush")
    ),
    "settle_before_commit": Bug(
        app=batches.SettleBeforeCommit,
        says="settles entries before the COMMIT",
        faults=("partition_worker_mysql", "mysql_lock_wait", "kill:worker"),
    ),
    "no_dedupe": Bug(
        app=stores.NoDedupe,
        says="looks no client id up",
        faults=("cut_clients", "kill:gateway", "redis_kill_normal", "kill:worker"),
        statements=NO_UNIQUE_ID,
    ),
    "dedupe_with_expiry": Bug(
        app=stores.DedupeWithExpiry,
        says="knows client ids for 2 s",
        faults=("partition_gateway_clients", "pause_long:gateway", "redis_kill_pubsub"),
        statements=NO_UNIQUE_ID,
    ),
    "unfenced_upsert": Bug(
        app=stores.UnfencedUpsert,
        says="inserts messages by an upsert, behind no fence",
        faults=("partition_worker_mysql", "pause_long:worker", "partition_worker_redis"),
    ),
    "memory_before_commit": Bug(
        app=batches.MemoryBeforeCommit, says="remembers a batch before its COMMIT was answered", faults=STORE_FAULTS
    ),
    "receipt_on_write": Bug(
        app=gateways.ReceiptOnWrite, says="acknowledges for a device when it writes to its socket", faults=("kill",)
    ),
    "no_sync_after_wipe": Bug(
        app=gateways.NoSyncAfterWipe, says="syncs nobody when Redis was emptied", faults=("redis_flush",)
    ),
    "removes_another": Bug(
        app=gateways.RemovesAnother,
        says="removes every member of a device that leaves",
        faults=("cut_clients", "partition_gateway_clients"),
    ),
    "routes_before_commit": Bug(
        app=batches.RoutesBeforeCommit,
        says="looks routes up before the COMMIT",
        faults=("mysql_lock_wait", "cut_clients"),
    ),
    "second_confirmation_ignored": Bug(
        app=gateways.SecondConfirmationIgnored,
        says="takes a subscription made again for the first",
        faults=("redis_kill_pubsub",),
    ),
    "token_after_read": Bug(
        app=syncs.TokenAfterRead,
        says="takes a sync's token after its read",
        faults=("cut_clients", "redis_kill_pubsub"),
    ),
    "acks_dropped": Bug(
        app=gateways.AcksDropped,
        says="drops acknowledgements whose XADD failed",
        faults=("redis_full", "redis_kill_normal"),
    ),
}
